import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BufferPool, type KernelFamily, uploadMatrix } from "../../../kernels/index.ts";
import { tileFor, tileRuns } from "../../../kernels/ops/matmul.ts";
import { matmulReference } from "../../../kernels/reference/matmul.ts";
import { expectClose, firstDifferentBits } from "../../support/arrays.ts";
import { ADAPTER, FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { multiply, productOf, randomProduct } from "./matmul-case.ts";

const test = useGpu();

const SHAPES = {
  float: [
    { numInputs: 4, numOutputs: 4 },
    { numInputs: 96, numOutputs: 68 },
    { numInputs: 1028, numOutputs: 132 },
  ],
  q8: [{ numInputs: 416, numOutputs: 68 }],
  q4: [{ numInputs: 416, numOutputs: 68 }],
} as const;

/** Weights in halves need no shader-f16: their products run on every adapter with subgroups. */
const ALL: readonly KernelFamily[] = [
  ...FAMILIES,
  ...(ADAPTER === "gpu" ? [] : FAMILIES.filter(({ name }) => name === "subgroup").map(withHalves)),
];

function withHalves(family: KernelFamily): KernelFamily {
  return { ...family, storage: "f16" };
}

describe.each(ALL)("$name family, $storage", (family) => {
  const formats = family.storage === "f16" ? (["float"] as const) : (["float", "q8", "q4"] as const);

  it.each(formats)("products of any shape, weights in %s (property)", async (format) => {
    const unit = format === "float" ? 4 : 32;
    const size = (unit: number) => fc.integer({ min: 1, max: 160 / unit }).map((count) => count * unit);
    const property = fc.asyncProperty(
      fc.record({ numInputs: size(unit), numOutputs: size(4) }),
      fc.integer({ min: 1, max: 19 }),
      fc.integer(),
      async (shape, numRows, seed) => {
        const product = productOf(new Random(seed), shape, numRows, format);
        const actual = await multiply(test.context(family), family.rowTiles, product);
        const expected = matmulReference(product.x, product.values, shape.numInputs);
        // A sum of K products below 1 in magnitude is below K, and each of its K additions rounds by half an ulp of that. Weights are
        // exact: d · q has at most 18 bits, and d · q + m is rounded once, here as on the device.
        expectClose(actual, expected, { absolute: shape.numInputs ** 2 * 2 ** -25 }, "y");
      },
    );
    await fc.assert(property, { numRuns: format === "float" ? 12 : 6, seed: 1 });
  });

  it.each(formats.flatMap((format) => SHAPES[format].map((shape) => ({ format, ...shape }))))(
    "a row's bits depend neither on its tile nor on 1 to 127 other rows, %o",
    async ({ format, ...shape }) => {
      const gpu = test.context(family);
      const product = productOf(new Random(shape.numInputs), shape, 128, format);
      const { numInputs, numOutputs } = shape;
      const rowAlone = (row: number) =>
        multiply(gpu, [1], { ...product, x: product.x.slice(row * numInputs, (row + 1) * numInputs) });
      const rows = [0, 1, 7, 8, 10, 126, 127];
      const alone = new Map<number, Float32Array>();
      for (const row of rows) alone.set(row, await rowAlone(row));
      for (const rowTiles of [...family.rowTiles.map((tile) => [tile]), family.rowTiles]) {
        for (const numRows of [1, 2, 3, 8, 9, 11, 128]) {
          const all = await multiply(gpu, rowTiles, { ...product, x: product.x.slice(0, numRows * numInputs) });
          for (const row of rows.filter((row) => row < numRows)) {
            const result = all.subarray(row * numOutputs, (row + 1) * numOutputs);
            const where = firstDifferentBits(result, alone.get(row) ?? new Float32Array());
            expect(where, `row ${row} of ${numRows}, tiles ${rowTiles}`).toBe(-1);
          }
        }
      }
    },
  );

  it.each(formats)(
    "weights in %s that are too large to be bound as one buffer: the same bits from several",
    async (format) => {
      const shape = { numInputs: 416, numOutputs: 132 };
      const gpu = test.context(family);
      const product = productOf(new Random(8), shape, 5, format);
      const whole = await multiply(gpu, family.rowTiles, product);
      const { parts } = uploadMatrix(gpu.pool, family, shape, product.weights, "whole");
      const pool = new BufferPool(gpu.device, Math.ceil(0.52 * (parts[0]?.values.size ?? 0)));
      const cut = uploadMatrix(pool, family, shape, product.weights, "cut");
      expect(cut.parts.map(({ firstOutput, numOutputs }) => [firstOutput, numOutputs])).toEqual([
        [0, 64],
        [64, 64],
        [128, 4],
      ]);
      expect(firstDifferentBits(await multiply({ ...gpu, pool }, family.rowTiles, product), whole)).toBe(-1);
      expect(() => uploadMatrix(new BufferPool(gpu.device, 1024), family, shape, product.weights, "tiny")).toThrow(
        /1024/,
      );
      pool.destroyAll();
    },
  );

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

it("tileRuns: every row once, in at most two dispatches, and never more rows of tiles than in one (property)", () => {
  const padded = ({ tile, numRows }: { readonly tile: number; readonly numRows: number }) =>
    Math.ceil(numRows / tile) * tile;
  const property = fc.property(
    fc.subarray([2, 3, 4, 8], { minLength: 0 }),
    fc.integer({ min: 1, max: 200 }),
    (tiles, numRows) => {
      const rowTiles = [1, ...tiles];
      const runs = tileRuns(rowTiles, numRows);
      let next = 0;
      for (const { tile, firstRow, numRows: ofRun } of runs) {
        expect(rowTiles).toContain(tile);
        expect(firstRow).toBe(next);
        next += ofRun;
      }
      expect(next).toBe(numRows);
      expect(runs.length).toBeLessThanOrEqual(2);
      const numPadded = runs.reduce((sum, run) => sum + padded(run), 0);
      expect(numPadded).toBeLessThanOrEqual(padded({ tile: tileFor(rowTiles, numRows), numRows }));
    },
  );
  fc.assert(property);
  expect(tileRuns([1, 2, 3, 4, 8], 19)).toEqual([
    { tile: 8, firstRow: 0, numRows: 16 },
    { tile: 3, firstRow: 16, numRows: 3 },
  ]);
  expect(tileRuns([1, 2, 3, 4, 8], 13)).toEqual([{ tile: 8, firstRow: 0, numRows: 13 }]);
});
