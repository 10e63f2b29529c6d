import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { HeadShape } from "../../../kernels/index.ts";
import { quantizeKv } from "../../../kernels/reference/kv-q8.ts";
import { expectClose, firstDifferentBits } from "../../support/arrays.ts";
import { ADAPTER, FAMILIES, MATRIX, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import {
  type AttendOptions,
  type AttentionRow,
  attend,
  attendReference,
  type Cache,
  randomCache,
  rowOver,
  slotAt,
} from "./attention-case.ts";

const test = useGpu();

/**
 * With |q|, |k| < 2 each of four partial dot products is at most headDim and takes headDim / 4 roundings: a score errs by
 * at most headDim² · 2⁻²⁴ / √headDim. A weight errs by as much, relatively, and an output is a mean of values below 1.
 */
const vectorToleranceOf = ({ headDim }: HeadShape) => ({ absolute: Math.sqrt(headDim) * (headDim + 16) * 2 ** -24 });

/** Matrix units round sums less well (assume 4 times as much), and weights and results to halves: 2⁻¹¹ each. */
const matrixToleranceOf = (heads: HeadShape) => ({ absolute: 4 * vectorToleranceOf(heads).absolute + 2 ** -10 });

describe.each(ADAPTER === "gpu" ? [...FAMILIES, MATRIX] : FAMILIES)("$name family, $storage", (family) => {
  const { splitSize } = family;
  const toleranceOf = family.name === "matrix" ? matrixToleranceOf : vectorToleranceOf;

  beforeEach(({ skip }) => {
    skip(family.name === "matrix" && !test.traits.matrices, "the adapter has no subgroup matrices");
  });

  it.each([
    [{ numHeads: 1, numKvHeads: 1, headDim: 8 }, 16],
    [{ numHeads: 6, numKvHeads: 2, headDim: 24 }, 16],
    [{ numHeads: 5, numKvHeads: 1, headDim: 40 }, 8],
    [{ numHeads: 4, numKvHeads: 4, headDim: 64 }, 16],
    [{ numHeads: 3, numKvHeads: 1, headDim: 128 }, 32],
    [{ numHeads: 2, numKvHeads: 1, headDim: 256 }, 16],
  ] as const)("chain and tree rows at positions on every edge, %o, blocks of %i", async (heads, blockSize) => {
    const random = new Random(heads.headDim);
    const edges = [0, 1, blockSize - 1, blockSize, splitSize - 1, splitSize, splitSize + 1, 2 * splitSize + 7];
    const numBlocks = Math.ceil((2 * splitSize + 8) / blockSize);
    const cache = randomCache(random, heads, 2 * numBlocks * blockSize);
    const ids = random.shuffle(Array.from({ length: 2 * numBlocks }, (_, i) => i));
    const rows = edges.flatMap((position, i) => {
      const table = ids.slice((i % 2) * numBlocks, (1 + (i % 2)) * numBlocks);
      const pathLengths = [0, 1, random.int(0, Math.min(position + 1, 20)), i % 3 === 0 ? position + 1 : 0];
      return pathLengths.map((numPath) => rowOver(random, heads, table, position, numPath));
    });
    const expected = attendReference(heads, blockSize, cache, rows);
    const actual = await attend(test.context(family), heads, blockSize, cache, rows);
    rows.forEach(({ position, linearLen }, row) => {
      const what = `position ${position}, linear length ${linearLen}`;
      expectClose(actual[row] ?? [], expected[row] ?? [], toleranceOf(heads), what);
    });
  });

  it("any heads, rows and lengths (property)", async () => {
    const property = fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 9 }), async (seed, numRows) => {
      const random = new Random(seed);
      // One of few shapes, so that few kernels are compiled; everything else is free.
      const { numShards, ...heads } = random.pick([
        { numHeads: 4, numKvHeads: 2, headDim: 16, numShards: 1 },
        { numHeads: 3, numKvHeads: 3, headDim: 72, numShards: 3 },
      ]);
      const scratchRows = random.int(1, numRows);
      const blockSize = 16;
      const numBlocks = Math.ceil((3 * splitSize) / blockSize);
      const cache = randomCache(random, heads, numBlocks * blockSize);
      const rows = Array.from({ length: numRows }, () => {
        const table = random.shuffle(Array.from({ length: numBlocks }, (_, i) => i));
        const position = random.int(0, random.pick([20, numBlocks * blockSize - 1]));
        return rowOver(random, heads, table, position, random.int(0, Math.min(position + 1, 70)));
      });
      const expected = attendReference(heads, blockSize, cache, rows);
      const actual = await attend(test.context(family), heads, blockSize, cache, rows, { numShards, scratchRows });
      for (const [row, values] of expected.entries()) {
        expectClose(actual[row] ?? [], values, toleranceOf(heads), `row ${row}`);
      }
    });
    await fc.assert(property, { numRuns: 8, seed: 1 });
  });

  it("keys and values in 8 bits: right for what they stand for, and a row's bits alone", async () => {
    const gpu = { ...test.context(family), family: { ...family, kv: "q8" as const } };
    const heads = { numHeads: 6, numKvHeads: 2, headDim: 24 };
    const random = new Random(12);
    const numBlocks = Math.ceil((2 * splitSize + 8) / 16);
    const exact = randomCache(random, heads, numBlocks * 16);
    const cache = { keys: asStored(exact.keys, 24), values: asStored(exact.values, 24) };
    const table = random.shuffle(Array.from({ length: numBlocks }, (_, i) => i));
    const rows = [0, 17, splitSize, 2 * splitSize + 7].flatMap((position) =>
      [0, Math.min(position, 9)].map((numPath) => rowOver(random, heads, table, position, numPath)),
    );
    const together = await attend(gpu, heads, 16, exact, rows);
    const expected = attendReference(heads, 16, cache, rows);
    for (const [row, values] of expected.entries()) {
      expectClose(together[row] ?? [], values, toleranceOf(heads), `row ${row}`);
      const [alone = new Float32Array()] = await attend(gpu, heads, 16, exact, rows.slice(row, row + 1));
      expect(firstDifferentBits(alone, together[row] ?? alone)).toBe(-1);
    }
  });

  it("scores far apart do not overflow, and one key dominates", async () => {
    const heads = { numHeads: 1, numKvHeads: 1, headDim: 8 };
    const random = new Random(9);
    const cache = randomCache(random, heads, 16 * 20);
    for (let i = 0; i < cache.keys.length; i++) cache.keys[i] = (cache.keys[i] ?? 0) * 2 ** 13;
    const table = Array.from({ length: 20 }, (_, i) => i);
    const rows = [3, 70, 300].map((position) => rowOver(random, heads, table, position, 2));
    const expected = attendReference(heads, 16, cache, rows);
    const actual = await attend(test.context(family), heads, 16, cache, rows);
    // The best score is thousands ahead: the softmax is one-hot, and the output is one key's value, exactly.
    for (const [row, values] of expected.entries())
      expectClose(actual[row] ?? [], values, { relative: 1e-6 }, `${row}`);
  });

  describe("bits of a row", () => {
    const heads = { numHeads: 4, numKvHeads: 2, headDim: 32 };
    const blockSize = 16;
    const numBlocks = Math.ceil((2 * splitSize + 60) / blockSize);
    const random = new Random(21);
    const cache = randomCache(random, heads, 2 * numBlocks * blockSize);
    const ids = random.shuffle(Array.from({ length: 2 * numBlocks }, (_, i) => i));
    const [table, otherTable] = [ids.slice(0, numBlocks), ids.slice(numBlocks)] as const;
    const NOT_NUMBERS = new Float32Array(heads.numKvHeads * heads.headDim).fill(Number.NaN);
    const positions = [0, 5, splitSize - 1, splitSize, splitSize + 30, 2 * splitSize + 39];
    const rows = positions.map((position) => rowOver(random, heads, table, position, 0));
    const run = (others: readonly AttentionRow[], from: Cache = cache) =>
      attend(test.context(family), heads, blockSize, from, others);
    const alone = async () => (await Promise.all(rows.map((row) => run([row])))).flat();
    const expectSame = (actual: readonly Float32Array[], expected: readonly Float32Array[]) =>
      expect(actual.map((values, i) => firstDifferentBits(values, expected[i] ?? values))).toEqual(rows.map(() => -1));

    it("are the same alone and beside 1 to 127 others, at every place of the batch", async () => {
      const expected = await alone();
      for (const numOthers of [1, 6, 127]) {
        const others = Array.from({ length: numOthers }, () =>
          rowOver(random, heads, otherTable, random.int(0, numOthers === 127 ? 40 : 2 * splitSize), 0),
        );
        const before = random.int(0, numOthers);
        const batch = [...others.slice(0, before), ...rows, ...others.slice(before)];
        expectSame((await run(batch)).slice(before, before + rows.length), expected);
      }
    });

    it("are the same whether keys come by the block table or by a path, of any length", async () => {
      const expected = await run(rows);
      for (const length of [1, 2, 17, splitSize + 1, Number.POSITIVE_INFINITY]) {
        const asTree = rows.map((row) => {
          const numPath = Math.min(length, row.position + 1);
          return { ...rowOver(random, heads, table, row.position, numPath), query: row.query };
        });
        expectSame(await run(asTree), expected);
      }
    });

    it("are the same among siblings, whose keys are not touched", async () => {
      const expected = await run(rows);
      for (const row of rows) {
        const numPath = Math.min(9, row.position + 1);
        const linearLen = row.position + 1 - numPath;
        const path = Array.from({ length: numPath }, (_, i) => 2 * i + random.int(0, 1));
        // The path's keys move to their tree places; every other tree place holds what is not a number.
        const tree = { keys: cache.keys.slice(), values: cache.values.slice() };
        const slotSize = heads.numKvHeads * heads.headDim;
        for (let t = 0; t < 2 * numPath; t++) {
          const to = slotAt(table, blockSize, linearLen + t) * slotSize;
          const from = slotAt(table, blockSize, linearLen + path.indexOf(t)) * slotSize;
          for (const part of ["keys", "values"] as const) {
            const source = path.includes(t) ? cache[part].subarray(from, from + slotSize) : NOT_NUMBERS;
            tree[part].set(source.subarray(0, slotSize), to);
          }
        }
        const [actual = new Float32Array()] = await run([{ ...row, linearLen, path }], tree);
        expect(firstDifferentBits(actual, expected[rows.indexOf(row)] ?? actual)).toBe(-1);
      }
    });

    it("are the same wherever the keys lie", async () => {
      const expected = await run(rows);
      const moved = randomCache(random, heads, 2 * numBlocks * blockSize);
      const slotSize = heads.numKvHeads * heads.headDim;
      for (let position = 0; position < numBlocks * blockSize; position++) {
        const [from, to] = [slotAt(table, blockSize, position), slotAt(otherTable, blockSize, position)];
        for (const part of ["keys", "values"] as const) {
          moved[part].set(cache[part].subarray(from * slotSize, (from + 1) * slotSize), to * slotSize);
        }
      }
      expectSame(
        await run(
          rows.map((row) => ({ ...row, blockTable: otherTable })),
          moved,
        ),
        expected,
      );
    });

    // Of keys and values in 8 bits test/engine/runner/split-buffers.test.ts says so.
    it("are the same with heads in several shards, and rows in as many tiles as scratch asks for", async () => {
      const wide = { numHeads: 12, numKvHeads: 4, headDim: 16 };
      const own = randomCache(random, wide, numBlocks * blockSize);
      const order = random.shuffle(Array.from({ length: numBlocks }, (_, i) => i));
      const batch = positions.map((position, i) => rowOver(random, wide, order, position, i % 2 === 0 ? 0 : 4));
      const attendBy = (options: AttendOptions) => attend(test.context(family), wide, blockSize, own, batch, options);
      const expected = await attendBy({});
      for (const options of [{ scratchRows: 1 }, { numShards: 2, scratchRows: 4 }]) {
        expectSame(await attendBy(options), expected);
      }
    });

    it("differ when one key differs: the comparison can fail", async () => {
      const expected = await run(rows);
      const changed = { ...cache, values: cache.values.map((value, i) => value + (i % 97 === 0 ? 2 ** -10 : 0)) };
      const actual = await run(rows, changed);
      expect(actual.map((values, i) => firstDifferentBits(values, expected[i] ?? values) >= 0)).toContain(true);
    });
  });
});

/** What 8 bits keep of keys or values. */
function asStored(rows: Float32Array, headDim: number): Float32Array<ArrayBuffer> {
  const { quants, scales } = quantizeKv(rows, headDim);
  return Float32Array.from(quants, (quant, i) => quant * (scales[Math.floor(i / headDim)] ?? 0));
}
