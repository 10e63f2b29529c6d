import type { BufferPool } from "../buffers.ts";
import { toHalf } from "../f16.ts";
import type { KernelFamily } from "../family.ts";
import type { ProductShape } from "../ops/product.ts";
import { type PackedTiles, packF16Tiles, packQ4Tiles, packQ8Tiles } from "./pack-tiles.ts";
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
 * Lays a weight matrix out for the family and uploads it; rows that it lacks of the shape's outputs are zero. Only the matrix family keeps
 * what is quantised quantised.
 */
export function uploadMatrix(
  pool: BufferPool,
  family: KernelFamily,
  shape: ProductShape,
  blocks: WeightBlocks,
  label: string,
): PackedMatrix {
  if (family.name === "matrix") {
    const kept = blocks.format === "float" && blocks.lowPrecision ? quantizeQ8(blocks.values) : blocks;
    return {
      format: kept.format === "float" ? "f16" : kept.format,
      ...uploadTiles(pool, packTiles(shape, kept), label),
    };
  }
  const weights = expandBlocks(blocks);
  if (family.name === "portable") return { format: "f32", values: pool.upload(toPanels(weights, shape), label) };
  const padded = new Float32Array(shape.numOutputs * shape.numInputs);
  padded.set(weights);
  const rows = family.storage === "f16" ? toHalf(padded) : padded;
  return { format: family.storage, values: pool.upload(rows, label) };
}

function packTiles(shape: ProductShape, blocks: WeightBlocks): PackedTiles {
  if (blocks.format === "q8") return packQ8Tiles(shape, blocks);
  if (blocks.format === "q4") return packQ4Tiles(shape, blocks);
  return packF16Tiles(shape, blocks.values);
}

function uploadTiles(pool: BufferPool, { values, scales }: PackedTiles, label: string) {
  const uploaded = { values: pool.upload(values, label) };
  return scales ? { ...uploaded, scales: pool.upload(scales, `${label} scales`) } : uploaded;
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
