import { describe, expect, it } from "vitest";
import {
  addRmsNorm,
  BufferPool,
  embedding,
  embeddingTable,
  packRows,
  siluMul,
  storageBytes,
} from "../../../kernels/index.ts";
import { rmsNormReference } from "../../../kernels/reference/add-rms-norm.ts";
import { embeddingReference } from "../../../kernels/reference/embedding.ts";
import { siluMulReference } from "../../../kernels/reference/silu-mul.ts";
import { expectClose, firstDifferentBits, uniform, uniformHalves } from "../../support/arrays.ts";
import { call, FAMILIES, readF32, submit, useGpu } from "../../support/gpu.ts";
import { emptyActivation, foldRanges, givenProduct, readActivation } from "../../support/products.ts";
import { Random } from "../../support/random.ts";

const test = useGpu();

describe.each(FAMILIES)("$name family, $storage", (family) => {
  const random = new Random(1);

  it.each([4, 8, 12, 64, 260, 516, 2048])(
    "add a product and norm %i columns, rows chosen by index",
    async (hiddenSize) => {
      const gpu = test.context(family);
      const numRows = random.int(2, 9);
      const rows = random.shuffle(Array.from({ length: numRows }, (_, i) => i)).slice(0, random.int(1, numRows));
      // A row of zeros and one of huge values are among the rows: epsilon decides the first, overflow threatens the other.
      const x = uniform(random, numRows * hiddenSize, 3).fill(0, 0, hiddenSize);
      for (let i = (numRows - 1) * hiddenSize; i < x.length; i++) x[i] = (x[i] ?? 0) * 1e15;
      const ranges = Array.from({ length: random.int(1, 5) }, () => uniform(random, x.length).fill(0, 0, hiddenSize));
      const gain = uniform(random, hiddenSize, 2);
      const epsilon = 1e-5;
      const hidden = gpu.pool.upload(x, "hidden");
      const out = emptyActivation(gpu, rows.length, hiddenSize);
      const op = await addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden, gain: gpu.pool.upload(gain, "gain"), out },
        product: givenProduct(gpu, ranges, { numOutputs: hiddenSize }),
        rowIndex: gpu.pool.upload(Uint32Array.from(rows), "rows"),
      });
      await submit(gpu, [call(op, { numRows: rows.length })]);
      const added = foldRanges([x, foldRanges(ranges)]);
      const after = await readF32(gpu, hidden, x.length);
      for (let row = 0; row < numRows; row++) {
        const [from, to] = [row * hiddenSize, (row + 1) * hiddenSize];
        const expected = rows.includes(row) ? added : x;
        expect(after.subarray(from, to)).toEqual(expected.subarray(from, to));
      }
      const chosen = embeddingReference(added, hiddenSize, Uint32Array.from(rows));
      // A sum of n positive squares has a relative error of at most n · 2⁻²⁴, of which the root keeps half; 4 roundings follow.
      const relative = (hiddenSize / 8 + 8) * 2 ** -24;
      const normed = await readActivation(gpu, out, rows.length);
      expectClose(normed, rmsNormReference(chosen, gain, epsilon), { relative }, "out");
    },
  );

  it.each([8, 516, 2048])(
    "a row's norm of %i columns has the same bits alone and beside 127 others",
    async (hiddenSize) => {
      const gpu = test.context(family);
      const x = uniform(random, 128 * hiddenSize);
      const gain = gpu.pool.upload(uniform(random, hiddenSize), "gain");
      const normed = async (rows: readonly number[]) => {
        const out = emptyActivation(gpu, rows.length, hiddenSize);
        const rowIndex = gpu.pool.upload(Uint32Array.from(rows), "rows");
        const hidden = gpu.pool.upload(x, "hidden");
        const op = await addRmsNorm(gpu, { hiddenSize, epsilon: 1e-6, hidden, gain, rowIndex, out });
        await submit(gpu, [call(op, { numRows: rows.length })]);
        return readActivation(gpu, out, rows.length);
      };
      const all = await normed(Array.from({ length: 128 }, (_, i) => i));
      for (const row of [0, 3, 64, 127]) {
        const together = all.subarray(row * hiddenSize, (row + 1) * hiddenSize);
        expect(firstDifferentBits(await normed([row]), together)).toBe(-1);
      }
    },
  );

  it("a grid of more workgroups than a dimension holds reaches every row", async () => {
    const gpu = test.context(family);
    const [intermediateSize, numRows] = [4096, 2100];
    const row = uniform(random, 2 * intermediateSize, 4);
    const gateUp = new Float32Array(numRows * row.length);
    for (let i = 0; i < numRows; i++) gateUp.set(row, i * row.length);
    const product = givenProduct(gpu, [gateUp], { numOutputs: row.length });
    const out = emptyActivation(gpu, numRows, intermediateSize);
    await submit(gpu, [call(await siluMul(gpu, { gateUp: product, out }), { numRows })]);
    const all = await readActivation(gpu, out, numRows);
    const first = all.subarray(0, intermediateSize);
    for (let i = 1; i < numRows; i++) {
      const other = all.subarray(i * intermediateSize, (i + 1) * intermediateSize);
      if (firstDifferentBits(first, other) >= 0) expect.fail(`row ${i} differs from the first`);
    }
    expectClose(first, siluMulReference(row, intermediateSize), { absolute: 1e-5 }, "first row");
    for (const { buffer } of [product, out]) gpu.pool.destroy(buffer);
  });

  it.each([4, 36, 344, 1024])("silu · up of %i columns, far into both tails", async (intermediateSize) => {
    const gpu = test.context(family);
    const numRows = random.int(1, 7);
    const size = 2 * numRows * intermediateSize;
    const tails = [-200, -88, 0, 88];
    const ranges = [uniform(random, size, 10), uniform(random, size, 10).fill(0, 0, tails.length)];
    ranges[0]?.set(tails);
    const gateUp = foldRanges(ranges);
    const product = givenProduct(gpu, ranges, { numOutputs: 2 * intermediateSize });
    const out = emptyActivation(gpu, numRows, intermediateSize);
    await submit(gpu, [call(await siluMul(gpu, { gateUp: product, out }), { numRows })]);
    // WGSL gives exp(x) 3 + 2·|x| ulp, and the tail's result is all exp.
    const tolerance = { absolute: 1e-30, relative: (3 + 2 * 20 + 8) * 2 ** -23 };
    const expected = siluMulReference(gateUp, intermediateSize);
    expectClose(await readActivation(gpu, out, numRows), expected, tolerance, "out");
  });

  it.each([4, 24, 256])("embedding of %i columns: exact", async (hiddenSize) => {
    const gpu = test.context(family);
    const values = uniformHalves(random, 50 * hiddenSize);
    // In two parts: of 32 tokens and of the rest.
    const pool = new BufferPool(gpu.device, 40 * hiddenSize * storageBytes(family));
    const table = embeddingTable(pool, 50, hiddenSize * storageBytes(family), (first, count) =>
      pool.upload(packRows(family, values.subarray(first * hiddenSize, (first + count) * hiddenSize)), "table"),
    );
    expect(table.map(({ firstToken, numTokens }) => [firstToken, numTokens])).toEqual([
      [0, 32],
      [32, 18],
    ]);
    const tokenIds = Uint32Array.from({ length: random.int(1, 40) }, () => random.int(0, 49));
    const hidden = gpu.pool.storage(4 * tokenIds.length * hiddenSize, "hidden");
    const op = await embedding(gpu, {
      ...{ hiddenSize, hidden, table },
      tokenIds: gpu.pool.upload(tokenIds, "tokenIds"),
    });
    await submit(gpu, [call(op, { numRows: tokenIds.length })]);
    const expected = embeddingReference(values, hiddenSize, tokenIds);
    expect(await readF32(gpu, hidden, expected.length)).toEqual(expected);
    pool.destroyAll();
  });
});
