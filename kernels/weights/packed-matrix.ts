import type { BufferPool } from "../buffers.ts";
import type { KernelFamily } from "../family.ts";
import type { ProductShape } from "../ops/product.ts";
import { packF16Rows, packF32Rows, packQ4Rows, packQ8Rows } from "./pack-rows.ts";
import { type PackedWeights, packF16Tiles, packQ4Tiles, packQ8Tiles } from "./pack-tiles.ts";
import { expandBlocks, quantizeQ8, type WeightBlocks } from "./weight-blocks.ts";

/** How the weights of a product lie on the device. */
export type WeightFormat = "f32" | "f16" | "q8" | "q4";

/** A weight matrix on the device, in the order in which the family's products read it. */
export interface PackedMatrix {
  readonly format: WeightFormat;
  readonly values: GPUBuffer;
  /** Of quantised formats. */
  readonly scales?: GPUBuffer;
}

/** Threads of the portable family, of 4 outputs each, whose weights lie side by side: one subgroup of a software adapter. */
export const PANEL = 4;

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
  if (family.name === "portable") {
    return { format: "f32", values: pool.upload(toPanels(expandBlocks(blocks), shape), label) };
  }
  const kept = blocks.format === "float" && blocks.lowPrecision ? quantizeQ8(blocks.values) : blocks;
  const { values, scales } = family.name === "matrix" ? packTiles(shape, kept) : packRows(family, shape, kept);
  const format = kept.format === "float" ? family.storage : kept.format;
  const uploaded = { format, values: pool.upload(values, label) };
  return scales ? { ...uploaded, scales: pool.upload(scales, `${label} scales`) } : uploaded;
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
  const width = 4 * PANEL;
  const out = new Float32Array(Math.ceil(numOutputs / width) * width * numInputs);
  for (let row = 0; row < numOutputs; row++) {
    const to = Math.floor(row / width) * width * numInputs + (row % width);
    for (let k = 0; k < numInputs; k++) out[to + k * width] = matrix[row * numInputs + k] ?? 0;
  }
  return out;
}
