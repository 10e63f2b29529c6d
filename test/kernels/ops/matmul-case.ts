import { expect } from "vitest";
import {
  destroyMatrix,
  expandBlocks,
  type GpuContext,
  matmul,
  type Product,
  type ProductShape,
  uploadMatrix,
  type WeightBlocks,
} from "../../../kernels/index.ts";
import { uniform } from "../../support/arrays.ts";
import { call, readF32, submit } from "../../support/gpu.ts";
import { rowsActivation } from "../../support/products.ts";
import type { Random } from "../../support/random.ts";
import { randomBlocks } from "../weights/random-blocks.ts";

export interface ProductCase {
  readonly shape: ProductShape;
  readonly weights: WeightBlocks;
  /** f32 [numRows, numInputs] */
  readonly x: Float32Array<ArrayBuffer>;
}

/** y f32 [numRows, numOutputs] by the kernels of a family of plain rows, with the given row tiles. */
export async function multiply(
  gpu: GpuContext,
  rowTiles: readonly number[],
  product: ProductCase,
): Promise<Float32Array> {
  const { shape, weights, x } = product;
  const { numInputs, numOutputs } = shape;
  const context = { ...gpu, family: { ...gpu.family, rowTiles } };
  const numRows = x.length / numInputs;
  const count = numRows * numOutputs;
  const guard = 64;
  // Cells behind the last row must stay as they are, and y's old values must not show.
  const cells = new Float32Array(count + guard).fill(Number.NaN, 0, count);
  const y: Product = { buffer: gpu.pool.upload(cells, "y"), maxRows: numRows, numOutputs, numRanges: 1 };
  const packed = uploadMatrix(gpu.pool, context.family, shape, weights, "weights");
  const input = rowsActivation(gpu, x, numInputs);
  await submit(context, [call(await matmul(context, { weights: packed, x: input, y }), { numRows })]);
  const all = await readF32(context, y.buffer, count + guard);
  for (const buffer of [input.buffer, y.buffer]) gpu.pool.destroy(buffer);
  destroyMatrix(gpu.pool, packed);
  expect(all.subarray(count)).toEqual(new Float32Array(guard));
  return all.slice(0, count);
}

/** Weights that f16 holds exactly. */
export function randomProduct(random: Random, shape: ProductShape, numRows: number) {
  return productOf(random, shape, numRows, "float");
}

/** Random blocks of a format, and the f32 weights that they stand for. */
export function productOf(random: Random, shape: ProductShape, numRows: number, format: WeightBlocks["format"]) {
  const weights = randomBlocks(random, format, shape.numInputs * shape.numOutputs);
  return { shape, weights, values: expandBlocks(weights), x: uniform(random, numRows * shape.numInputs) };
}
