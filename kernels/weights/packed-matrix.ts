import type { BufferPool } from "../buffers.ts";
import { GpuError } from "../errors.ts";
import type { KernelFamily } from "../family.ts";
import { MATRIX_TILE, type ProductShape, paddedOutputs, roundUp } from "../ops/product.ts";
import { packF16Rows, packF32Rows, packQ4Rows, packQ8Rows } from "./pack-rows.ts";
import { type PackedWeights, packF16Tiles, packQ4Tiles, packQ8Tiles } from "./pack-tiles.ts";
import { expandBlocks, quantizeQ8, type WeightBlocks } from "./weight-blocks.ts";

/** How the weights of a product lie on the device. */
export type WeightFormat = "f32" | "f16" | "q8" | "q4";

/** Some outputs of a weight matrix. */
export interface MatrixPart {
  readonly values: GPUBuffer;
  /** Of quantised formats. */
  readonly scales?: GPUBuffer;
  readonly firstOutput: number;
  readonly numOutputs: number;
}

/** A weight matrix on the device, in the order in which the family's products read it. */
export interface PackedMatrix {
  readonly format: WeightFormat;
  /** One, unless the matrix is larger than what the device can bind as one buffer. In order; together they are all outputs. */
  readonly parts: readonly MatrixPart[];
}

/** Threads of the portable family, of 4 outputs each, whose weights lie side by side: one subgroup of a software adapter. */
export const PANEL = 4;
const PANEL_OUTPUTS = 4 * PANEL;

/**
 * Lays a weight matrix out for the family and uploads it; rows that it lacks of the shape's outputs are zero. Only the portable
 * family expands what is quantised; the others round its scales and minimums to f16, and hold it as q8 where it is neither q8 nor q4.
 */
export function uploadMatrix(
  pool: BufferPool,
  family: KernelFamily,
  shape: ProductShape,
  blocks: WeightBlocks,
  label: string,
): PackedMatrix {
  const numOutputs = paddedOutputs(family, shape.numOutputs);
  if (family.name === "portable") {
    const values = toPanels(expandBlocks(blocks), shape);
    return {
      format: "f32",
      parts: uploadParts(pool, { values }, { numOutputs, numLaidOut: roundUp(numOutputs, PANEL_OUTPUTS) }, label),
    };
  }
  const kept = blocks.format === "float" && blocks.lowPrecision ? quantizeQ8(blocks.values) : blocks;
  const packed = family.name === "matrix" ? packTiles(shape, kept) : packRows(family, shape, kept);
  const format = kept.format === "float" ? family.storage : kept.format;
  return { format, parts: uploadParts(pool, packed, { numOutputs, numLaidOut: numOutputs }, label) };
}

/** Outputs at which a matrix can be cut: whole panels, whole tiles, and whole words of scales. */
const CUT_OUTPUTS = MATRIX_TILE.outputs;

/**
 * As few parts as can be bound. Outputs lie one after the other in every layout, so a part is a run of bytes.
 * @param outputBytes of one output's weights
 * @throws GpuError out_of_memory where not even the smallest part can be bound
 */
export function cutOutputs(
  { maxBytes }: Pick<BufferPool, "maxBytes">,
  numOutputs: number,
  outputBytes: number,
): readonly Pick<MatrixPart, "firstOutput" | "numOutputs">[] {
  const fits = numOutputs * outputBytes <= maxBytes;
  const most = fits ? numOutputs : CUT_OUTPUTS * Math.floor(maxBytes / (CUT_OUTPUTS * outputBytes));
  if (most === 0) {
    const message = `${CUT_OUTPUTS} rows of weights need ${CUT_OUTPUTS * outputBytes} bytes; this adapter binds at most ${maxBytes}`;
    throw new GpuError("out_of_memory", message);
  }
  return Array.from({ length: Math.ceil(numOutputs / most) }, (_, i) => ({
    ...{ firstOutput: i * most, numOutputs: Math.min(most, numOutputs - i * most) },
  }));
}

/** @param numLaidOut outputs that the weights have room for */
function uploadParts(
  pool: BufferPool,
  { values, scales }: PackedWeights,
  { numOutputs, numLaidOut }: { readonly numOutputs: number; readonly numLaidOut: number },
  label: string,
): MatrixPart[] {
  const outputBytes = values.byteLength / numLaidOut;
  const cuts = cutOutputs(pool, numLaidOut, outputBytes);
  return cuts.map((cut, i) => {
    const isLast = i === cuts.length - 1;
    const name = cuts.length === 1 ? label : `${label}, outputs from ${cut.firstOutput}`;
    const upload = (all: ArrayBufferView<ArrayBuffer>, bytes: number, what: string) => {
      const from = cut.firstOutput * bytes;
      const end = isLast ? all.byteLength : from + cut.numOutputs * bytes;
      return pool.upload(new Uint8Array(all.buffer, all.byteOffset + from, end - from), what);
    };
    // Scales may be followed by one that fills up a word.
    const scaleBytes = Math.floor((scales?.byteLength ?? 0) / numLaidOut);
    return {
      values: upload(values, outputBytes, name),
      ...(scales ? { scales: upload(scales, scaleBytes, `${name} scales`) } : {}),
      ...{ firstOutput: cut.firstOutput, numOutputs: Math.min(cut.numOutputs, numOutputs - cut.firstOutput) },
    };
  });
}

/** Frees it. */
export function destroyMatrix(pool: BufferPool, { parts }: PackedMatrix): void {
  for (const { values, scales } of parts) {
    pool.destroy(values);
    if (scales) pool.destroy(scales);
  }
}

function packTiles(shape: ProductShape, blocks: WeightBlocks): PackedWeights {
  if (blocks.format === "q8") return packQ8Tiles(shape, blocks);
  if (blocks.format === "q4") return packQ4Tiles(shape, blocks);
  return packF16Tiles(shape, blocks.values);
}

function packRows({ storage }: KernelFamily, shape: ProductShape, blocks: WeightBlocks): PackedWeights {
  if (blocks.format === "q8") return packQ8Rows(shape, blocks);
  if (blocks.format === "q4") return packQ4Rows(shape, blocks);
  return storage === "f16" ? packF16Rows(shape, blocks.values) : packF32Rows(shape, blocks.values);
}

/** f32 [numOutputs, numInputs] → [⌈numOutputs / width⌉, numInputs, width], zero where there is no such output. */
function toPanels(matrix: Float32Array, { numInputs, numOutputs }: ProductShape): Float32Array<ArrayBuffer> {
  const width = PANEL_OUTPUTS;
  const out = new Float32Array(Math.ceil(numOutputs / width) * width * numInputs);
  for (let row = 0; row < numOutputs; row++) {
    const to = Math.floor(row / width) * width * numInputs + (row % width);
    for (let k = 0; k < numInputs; k++) out[to + k * width] = matrix[row * numInputs + k] ?? 0;
  }
  return out;
}
