import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tileFor } from "../../../kernels/ops/matmul.ts";
import { matmulReference } from "../../../kernels/reference/matmul.ts";
import { expectClose, firstDifferentBits } from "../../support/arrays.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { multiply, randomProduct } from "./matmul-case.ts";

const test = useGpu();

describe.each(FAMILIES)("$name family, $storage", (family) => {
  it("products of any shape (property)", async () => {
    const size = fc.integer({ min: 1, max: 40 }).map((quads) => 4 * quads);
    const property = fc.asyncProperty(
      fc.record({ numInputs: size, numOutputs: size }),
      fc.integer({ min: 1, max: 19 }),
      fc.integer(),
      async (shape, numRows, seed) => {
        const random = new Random(seed);
        const product = randomProduct(random, shape, numRows);
        const actual = await multiply(test.context(family), family.rowTiles, product);
        const expected = matmulReference(product.x, product.values, shape.numInputs);
        // A sum of K products below 1 in magnitude is below K, and each of its K additions rounds by half an ulp of that.
        expectClose(actual, expected, { absolute: shape.numInputs ** 2 * 2 ** -25 }, "y");
      },
    );
    await fc.assert(property, { numRuns: 12, seed: 1 });
  });

  it.each([
    { numInputs: 4, numOutputs: 4 },
    { numInputs: 96, numOutputs: 68 },
    { numInputs: 1028, numOutputs: 132 },
  ])("a row's bits depend neither on its tile nor on 1 to 127 other rows, %o", async (shape) => {
    const gpu = test.context(family);
    const product = randomProduct(new Random(shape.numInputs), shape, 128);
    const { numInputs, numOutputs } = shape;
    const rowAlone = (row: number) =>
      multiply(gpu, [1], { ...product, x: product.x.slice(row * numInputs, (row + 1) * numInputs) });
    const rows = [0, 1, 7, 8, 126, 127];
    const alone = new Map<number, Float32Array>();
    for (const row of rows) alone.set(row, await rowAlone(row));
    for (const rowTiles of [...family.rowTiles.map((tile) => [tile]), family.rowTiles]) {
      for (const numRows of [1, 2, 3, 8, 9, 128]) {
        const all = await multiply(gpu, rowTiles, { ...product, x: product.x.slice(0, numRows * numInputs) });
        for (const row of rows.filter((row) => row < numRows)) {
          const result = all.subarray(row * numOutputs, (row + 1) * numOutputs);
          const where = firstDifferentBits(result, alone.get(row) ?? new Float32Array());
          expect(where, `row ${row} of ${numRows}, tiles ${rowTiles}`).toBe(-1);
        }
      }
    }
  });

  it("a product of another order of summation has other bits: the comparison can fail", async () => {
    const shape = { numInputs: 512, numOutputs: 16 };
    const { weights, values, x } = randomProduct(new Random(5), shape, 1);
    const reversed = (matrix: Float32Array) => {
      const out = new Float32Array(matrix.length);
      for (let i = 0; i < matrix.length; i++) {
        out[i] = matrix[i - (i % shape.numInputs) + shape.numInputs - 1 - (i % shape.numInputs)] ?? 0;
      }
      return out;
    };
    const gpu = test.context(family);
    const forward = await multiply(gpu, [1], { shape, weights, x });
    const backward = await multiply(gpu, [1], {
      ...{ shape, x: reversed(x) },
      weights: { format: "float", values: reversed(values), lowPrecision: false },
    });
    expect(firstDifferentBits(forward, backward)).toBeGreaterThanOrEqual(0);
  });
});

it("tileFor takes the smallest tile that holds all rows, else the largest", () => {
  expect([1, 2, 3, 4, 5, 8, 9, 100].map((rows) => tileFor([1, 4, 8], rows))).toEqual([1, 4, 4, 4, 8, 8, 8, 8]);
});
