import { expect } from "vitest";
import { type GpuContext, type MatmulShape, matmul, packWeights } from "../../../kernels/index.ts";
import { uniform, uniformHalves } from "../../support/arrays.ts";
import { call, readF32, submit } from "../../support/gpu.ts";
import type { Random } from "../../support/random.ts";

export interface Product {
  readonly shape: MatmulShape;
  /** f32 [numOutputs, numInputs] */
  readonly weights: Float32Array;
  /** f32 [numRows, numInputs] */
  readonly x: Float32Array<ArrayBuffer>;
  /** What y holds before, f32 [numRows, numOutputs], to add to. */
  readonly y?: Float32Array<ArrayBuffer>;
}

/** y f32 [numRows, numOutputs] by the family's kernels, with the given row tiles. */
export async function multiply(gpu: GpuContext, rowTiles: readonly number[], product: Product): Promise<Float32Array> {
  const { shape, weights, x } = product;
  const context = { ...gpu, family: { ...gpu.family, rowTiles } };
  const numRows = x.length / shape.numInputs;
  const count = numRows * shape.numOutputs;
  const guard = 64;
  // Cells behind the last row must stay as they are, and y's old values must not show unless they are added to.
  const y = new Float32Array(count + guard).fill(Number.NaN, 0, count);
  if (product.y) y.set(product.y);
  const buffers = {
    weights: gpu.pool.upload(packWeights(context.family, shape, weights), "weights"),
    x: gpu.pool.upload(x, "x"),
    y: gpu.pool.upload(y, "y"),
  };
  const op = await matmul(context, { shape, accumulate: product.y !== undefined, ...buffers });
  await submit(context, [call(op, { numRows })]);
  const all = await readF32(context, buffers.y, count + guard);
  for (const buffer of Object.values(buffers)) gpu.pool.destroy(buffer);
  expect(all.subarray(count)).toEqual(new Float32Array(guard));
  return all.slice(0, count);
}

export function randomProduct(random: Random, shape: MatmulShape, numRows: number): Product {
  const weights = uniformHalves(random, shape.numInputs * shape.numOutputs);
  return { shape, weights, x: uniform(random, numRows * shape.numInputs) };
}
