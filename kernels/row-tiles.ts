import { toHalf } from "./f16.ts";
import type { KernelFamily } from "./family.ts";
import type { GpuContext } from "./gpu-context.ts";
import type { Op } from "./op.ts";
import { matmul } from "./ops/matmul.ts";
import { type Activation, activationBytes, type Product, type ProductShape, paddedRows } from "./ops/product.ts";
import { submitPass } from "./submit-pass.ts";
import { destroyMatrix, uploadMatrix, type WeightFormat } from "./weights/packed-matrix.ts";
import { BLOCK_INPUTS, quantizeQ8, type WeightBlocks } from "./weights/weight-blocks.ts";

const NUM_OUTPUTS = 64;

/** An output of a product: how many inputs it adds up, in how many ranges, and how its weights are held. */
export interface ProductSum {
  readonly numInputs: number;
  readonly numRanges: number;
  readonly format: WeightFormat;
}

/**
 * The family with only those row tiles whose products equal the first tile's bit for bit on this device. WGSL lets a
 * compiler reassociate sums and split `fma`, so equality is observed, never assumed; a tile that differs is not used.
 * @param sums of every product of the models to be run: what rounding depends on
 */
export async function checkRowTiles(gpu: GpuContext, sums: readonly ProductSum[]): Promise<KernelFamily> {
  const [first = 1, ...others] = gpu.family.rowTiles;
  const equal = new Set(others);
  const distinct = new Map(sums.map((sum) => [`${sum.numInputs}/${sum.numRanges}/${sum.format}`, sum]));
  // All at once: compiling takes longer than anything else here, and drivers do it on every core.
  const results = await Promise.all([...distinct.values()].map((sum) => products(gpu, sum, [first, ...others])));
  for (const [expected, ...rest] of results) {
    others.forEach((tile, i) => {
      if (!sameBits(expected, rest[i])) equal.delete(tile);
    });
  }
  return { ...gpu.family, rowTiles: [first, ...others.filter((tile) => equal.has(tile))] };
}

/** Random weights that a family holds in `format`. */
export function randomBlocks(format: WeightFormat, { numInputs, numOutputs }: ProductShape): WeightBlocks {
  const values = noise(numInputs * numOutputs, 1);
  if (format === "q8") return quantizeQ8(values);
  if (format !== "q4") return { format: "float", values, lowPrecision: false };
  const scales = noise(values.length / BLOCK_INPUTS, 4);
  const quants = Uint8Array.from(values, (value) => Math.floor(8 + 8 * value));
  return { format: "q4", quants, scales, minimums: scales.map((scale) => -8 * scale) };
}

/** y as u32 bits of a few outputs of a product, of as many rows as the family's largest tile has and one more, by each of `tiles`. */
async function products(gpu: GpuContext, sum: ProductSum, tiles: readonly number[]): Promise<Uint32Array[]> {
  const { pool, family } = gpu;
  const { numInputs, numRanges, format } = sum;
  const numRows = Math.max(...family.rowTiles) + 1;
  const maxRows = paddedRows(family, numRows);
  const shape = { numInputs, numOutputs: NUM_OUTPUTS };
  const xBytes = activationBytes(family, maxRows, numInputs);
  const inputs = family.name === "matrix" ? toHalf(noise(xBytes / 2, 2)) : noise(xBytes / 4, 2);
  const x: Activation = { buffer: pool.upload(inputs, "x"), maxRows, numInputs };
  const weights = uploadMatrix(pool, family, shape, randomBlocks(format, shape), "weights");
  const results = await Promise.all(
    tiles.map(async (tile) => {
      const buffer = pool.storage(4 * numRanges * maxRows * NUM_OUTPUTS, "y");
      const y: Product = { buffer, maxRows, numOutputs: NUM_OUTPUTS, numRanges };
      const op = await matmul({ ...gpu, family: { ...family, rowTiles: [tile] } }, { weights, x, y });
      const rows = await resultBits(gpu, op, y, numRows);
      pool.destroy(buffer);
      return rows;
    }),
  );
  pool.destroy(x.buffer);
  destroyMatrix(pool, weights);
  return results;
}

/** y as u32 bits of `numRows` rows of each range, once the op has run. */
export async function resultBits(gpu: GpuContext, op: Op, y: Product, numRows: number): Promise<Uint32Array> {
  const bytes = await gpu.guard.run(() => {
    submitPass(gpu.device, (pass) => op(pass, { numRows, numSplits: 1, numLogits: 0 }));
    return gpu.pool.read(y.buffer, 0, y.buffer.size);
  });
  const rows = new Uint32Array(bytes);
  const size = y.maxRows * y.numOutputs;
  // Rows past the last are whatever their tile left there.
  return rows.filter((_, i) => i % size < numRows * y.numOutputs);
}

/** Deterministic values in [−1, 1) (a linear congruential generator). */
export function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

export function sameBits(a: Uint32Array | undefined, b: Uint32Array | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((bits, i) => bits === b[i]);
}
