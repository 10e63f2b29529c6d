import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  expandBlocks,
  type GpuContext,
  gatedMatmul,
  matmul,
  type Op,
  type Product,
  type ProductShape,
  paddedOutputs,
  paddedRows,
  uploadMatrix,
  type WeightBlocks,
} from "../../../kernels/index.ts";
import { possibleRanges } from "../../../kernels/ops/product.ts";
import { matmulReference } from "../../../kernels/reference/matmul.ts";
import { siluMulReference } from "../../../kernels/reference/silu-mul.ts";
import { expectClose, firstDifferentBits, uniform, uniformHalves } from "../../support/arrays.ts";
import { call, MATRIX, readF32, submit, useGpu } from "../../support/gpu.ts";
import { emptyActivation, foldRanges, givenProduct, tilesActivation } from "../../support/products.ts";
import { Random } from "../../support/random.ts";
import { EmulatedMatrices } from "../emulated-matrices.ts";
import { randomBlocks } from "../weights/random-blocks.ts";

const test = useGpu();

let emulating: GpuContext | undefined;

function context(rowTiles = MATRIX.rowTiles): GpuContext {
  const gpu = test.context(MATRIX);
  emulating ??= { ...gpu, kernels: new EmulatedMatrices(gpu.device) };
  return { ...emulating, family: { ...emulating.family, rowTiles } };
}

/** An output of `numRanges` ranges; its old values are no numbers, and must not show. */
function emptyProduct({ pool, family }: GpuContext, numRows: number, numOutputs: number, numRanges: number): Product {
  const maxRows = paddedRows(family, numRows);
  const padded = paddedOutputs(family, numOutputs);
  const cells = new Float32Array(numRanges * maxRows * padded).fill(Number.NaN);
  return { buffer: pool.upload(cells, "y"), maxRows, numOutputs: padded, numRanges };
}

/** What the op gives in y: sums f32 [numRows, numOutputs] of its ranges. */
async function run(gpu: GpuContext, op: Op, y: Product, numRows: number, { numOutputs }: ProductShape) {
  await submit(gpu, [call(op, { numRows })]);
  const all = await readF32(gpu, y.buffer, y.numRanges * y.maxRows * y.numOutputs);
  const ranges = Array.from({ length: y.numRanges }, (_, range) =>
    Float32Array.from({ length: numRows * numOutputs }, (_, i) => {
      const row = Math.floor(i / numOutputs);
      return all[(range * y.maxRows + row) * y.numOutputs + (i % numOutputs)] ?? Number.NaN;
    }),
  );
  return foldRanges(ranges);
}

interface ProductCase {
  readonly shape: ProductShape;
  readonly numRanges: number;
  readonly weights: WeightBlocks;
}

function randomProduct(random: Random, format: WeightBlocks["format"], maxInputs: number): ProductCase {
  const unit = format === "float" ? 4 : 32;
  const shape = { numInputs: unit * random.int(1, maxInputs / unit), numOutputs: 4 * random.int(1, 12) };
  return {
    shape,
    numRanges: random.pick(possibleRanges(MATRIX, shape)),
    weights: randomBlocks(random, format, shape.numInputs * shape.numOutputs),
  };
}

/** y f32 [numRows, numOutputs] of inputs f32 [numRows, numInputs] that halves hold. */
async function multiply(rowTiles: readonly number[], { shape, numRanges, weights }: ProductCase, x: Float32Array) {
  const gpu = context(rowTiles);
  const numRows = x.length / shape.numInputs;
  const y = emptyProduct(gpu, numRows, shape.numOutputs, numRanges);
  const packed = uploadMatrix(gpu.pool, gpu.family, shape, weights, "weights");
  const op = await matmul(gpu, { weights: packed, x: tilesActivation(gpu, x, shape.numInputs), y });
  return run(gpu, op, y, numRows, shape);
}

/** The same of gated inputs: each range of `gateUp` is f32 [numRows, 2 · numInputs]. Of up to `maxRows` rows they are made on load. */
async function multiplyGated(
  rowTiles: readonly number[],
  { shape, numRanges, weights }: ProductCase,
  gateUp: readonly Float32Array[],
  maxRows: number,
) {
  const gpu = context(rowTiles);
  const { numInputs } = shape;
  const numRows = (gateUp[0]?.length ?? 0) / (2 * numInputs);
  const y = emptyProduct(gpu, numRows, shape.numOutputs, numRanges);
  const packed = uploadMatrix(gpu.pool, gpu.family, shape, weights, "weights");
  const args = {
    weights: packed,
    gateUp: paddedProduct(gpu, gateUp, numRows),
    x: emptyActivation(gpu, numRows, numInputs),
    y,
  };
  return run(gpu, await gatedMatmul(gpu, args, maxRows), y, numRows, shape);
}

/** A product as the matrix family writes it: past its rows and columns there is whatever a tile left there. */
function paddedProduct(gpu: GpuContext, ranges: readonly Float32Array[], numRows: number): Product {
  const numColumns = (ranges[0]?.length ?? 0) / numRows;
  const maxRows = paddedRows(gpu.family, numRows);
  const numOutputs = paddedOutputs(gpu.family, numColumns);
  const padded = ranges.map((range) => {
    const cells = new Float32Array(maxRows * numOutputs).fill(Number.NaN);
    for (let row = 0; row < numRows; row++) {
      cells.set(range.subarray(row * numColumns, (row + 1) * numColumns), row * numOutputs);
    }
    return cells;
  });
  return givenProduct(gpu, padded, { numOutputs });
}

/** Partial sums of gates and ups: far into both tails of the gate, and some so large that f16 does not hold what comes of them. */
function randomGateUp(random: Random, numRanges: number, numRows: number, numInputs: number): Float32Array[] {
  const ranges = Array.from({ length: numRanges }, () => uniform(random, 2 * numRows * numInputs, 4));
  ranges[0]?.set([-200, -88, 300]);
  ranges[0]?.fill(1000, numInputs - 1, numInputs + 3);
  return ranges;
}

/**
 * Errors as shares of Σ|w · x|: inputs and weights are rounded to halves, by 2⁻¹¹ of themselves at most, and each of K additions by
 * half an ulp of a sum that is no larger.
 */
function expectProduct(y: Float32Array, { shape, weights }: ProductCase, x: Float32Array): void {
  const values = expandBlocks(weights);
  const expected = matmulReference(x, values, shape.numInputs);
  const scale = matmulReference(x.map(Math.abs), values.map(Math.abs), shape.numInputs);
  const share = (sums: ArrayLike<number>) => Float64Array.from(scale, (all, i) => (sums[i] ?? Number.NaN) / all);
  const absolute = 2 ** -10 + shape.numInputs * 2 ** -24;
  expectClose(share(y), share(expected), { absolute }, JSON.stringify(shape));
}

const FORMATS = ["float", "q8", "q4"] as const;
/** Half of its last tile of inputs is padding. */
const CASE: ProductCase = {
  shape: { numInputs: 160, numOutputs: 36 },
  numRanges: 3,
  weights: randomBlocks(new Random(11), "q4", 160 * 36),
};

describe("products on subgroup matrices, emulated on the software adapter", { timeout: 60_000 }, () => {
  it.each(FORMATS)("products of any shape, weights in %s", async (format) => {
    const random = new Random(format.length);
    const product = randomProduct(random, format, 320);
    const x = uniformHalves(random, random.int(1, 20) * product.shape.numInputs);
    const y = await multiply([random.pick([8, 16])], product, x);
    expectProduct(y, product, x);
  });

  it("a row's bits do not depend on its tile", async () => {
    const x = uniformHalves(new Random(12), 37 * CASE.shape.numInputs);
    const [expected, ...others] = await Promise.all(MATRIX.rowTiles.map((tile) => multiply([tile], CASE, x)));
    for (const [i, rows] of others.entries()) {
      expect(firstDifferentBits(rows, expected ?? rows), `tile ${MATRIX.rowTiles[i + 1]}`).toBe(-1);
    }
  });

  it("inputs made on load: the bits of siluMul and the plain product (property)", async () => {
    const property = fc.asyncProperty(fc.constantFrom(...FORMATS), fc.integer(), async (format, seed) => {
      const random = new Random(seed);
      const product = randomProduct(random, format, 256);
      const numRows = random.int(1, 16);
      const gateUp = randomGateUp(random, random.int(1, 4), numRows, product.shape.numInputs);
      const tiles = [numRows > 8 ? 16 : random.pick([8, 16])];
      const apart = await multiplyGated(tiles, product, gateUp, 0);
      const onLoad = await multiplyGated(tiles, product, gateUp, 16);
      expect(apart.every(Number.isFinite)).toBe(true);
      expect(firstDifferentBits(onLoad, apart)).toBe(-1);
    });
    await fc.assert(property, { numRuns: 3, seed: 1 });
  });

  it("the number of rows of a pass chooses the way and the tile, and never changes a row", async () => {
    const { numInputs, numOutputs } = CASE.shape;
    const [gateUp = new Float32Array()] = randomGateUp(new Random(13), 1, 18, numInputs);
    const rows = (numRows: number) => multiplyGated([8, 16], CASE, [gateUp.slice(0, 2 * numRows * numInputs)], 10);
    const all = await rows(18);
    for (const numRows of [1, 8, 9, 10, 11]) {
      const expected = all.subarray(0, numRows * numOutputs);
      expect(firstDifferentBits(await rows(numRows), expected), `${numRows} rows`).toBe(-1);
    }
    const x = Float32Array.from(siluMulReference(gateUp, numInputs), (v) => Math.max(-65504, Math.min(65504, v)));
    expectProduct(all, CASE, x);
  });
});
