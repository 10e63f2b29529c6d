import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkArguments } from "../../../kernels/flash-decoding/arguments.ts";
import { runFlashDecoding } from "../../../kernels/flash-decoding/run.ts";
import type { GpuContext, HeadShape } from "../../../kernels/index.ts";
import { chooseAttentionKernel } from "../../../kernels/ops/attention-core.ts";
import type { MatrixTile } from "../../../kernels/ops/attention-types.ts";
import { expectClose, firstDifferentBits } from "../../support/arrays.ts";
import { MATRIX, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { EmulatedMatrices } from "../emulated-matrices.ts";
import { expectResult, randomCall } from "../flash-decoding/case.ts";
import { type AttentionRow, attend, attendReference, type Cache, randomCache, rowOver } from "./attention-case.ts";

const test = useGpu();

/** Two segments a split, and few keys make two splits. */
const FAMILY = { ...MATRIX, splitSize: 256 };

let emulating: GpuContext | undefined;

/** One for all tests: these kernels take seconds to compile. */
function context(): GpuContext {
  const gpu = test.context(FAMILY);
  emulating ??= { ...gpu, kernels: new EmulatedMatrices(gpu.device) };
  return emulating;
}

/** As in attention.test.ts: sums of other order, weights and results in halves. */
const TOLERANCE = { absolute: 2 ** -9 };

describe("the kernel with subgroup matrices, emulated on the software adapter", { timeout: 180_000 }, () => {
  const heads = { numHeads: 4, numKvHeads: 2, headDim: 16 };
  const random = new Random(5);
  const { cache, table, otherTable } = randomPages(random, heads, 16);
  const run = (rows: readonly AttentionRow[], from: Cache = cache, tileRows: 16 | 32 = 16) =>
    attend(context(), heads, 16, from, rows, { kernel: { kind: "matrix", tileRows } });

  async function expectRight(rows: readonly AttentionRow[], tileRows: 16 | 32 = 16): Promise<Float32Array[]> {
    const actual = await run(rows, cache, tileRows);
    expectRows(actual, attendReference(heads, 16, cache, rows), rows);
    return actual;
  }

  const tree = (root: number, numNodes: number) => randomTree(random, heads, table, root, numNodes);

  it("rows of any position, alone and together, have one set of bits", async () => {
    const rows = [0, 1, 15, 16, 31, 127, 128, 129, 200, 255, 256, 300, 400].map((at) =>
      rowOver(random, heads, table, at, 0),
    );
    const together = await expectRight(rows);
    for (const [i, row] of rows.entries()) {
      const [alone = new Float32Array()] = await run([row]);
      expect(firstDifferentBits(alone, together[i] ?? alone)).toBe(-1);
    }
  });

  it("trees across segments and splits, beside chunks and other sequences", async () => {
    for (const root of [3, 29, 125, 254]) {
      const rows = [
        rowOver(random, heads, otherTable, root + 7, 0),
        ...Array.from({ length: 3 }, (_, i) => rowOver(random, heads, table, root - 2 + i, 0)),
        ...tree(root, 12),
        rowOver(random, heads, otherTable, 40, 0),
      ];
      await expectRight(rows);
    }
  });

  it("tall tiles, and rows spread over as many tiles as the device would have: the bits of small tiles", async () => {
    const others = Array.from({ length: 30 }, (_, i) => rowOver(random, heads, i < 20 ? otherTable : table, i + 50, 0));
    const rows = tree(61, 8);
    const few = await expectRight(rows);
    const many = await expectRight([...others, ...rows], 32);
    const spread = await attend(context(), heads, 16, cache, rows);
    for (const [i, values] of few.entries()) expect(firstDifferentBits(values, spread[i] ?? values)).toBe(-1);
    for (const [i, values] of few.entries())
      expect(firstDifferentBits(values, many[others.length + i] ?? values)).toBe(-1);
  });

  it("a chain as a path, of any length: the bits of committed keys", async () => {
    const row = rowOver(random, heads, table, 140, 0);
    const [expected = new Float32Array()] = await run([row]);
    for (const numPath of [1, 5, 33, 80, 141]) {
      const asPath = { ...rowOver(random, heads, table, 140, numPath), query: row.query };
      const [actual = new Float32Array()] = await run([asPath]);
      expect(firstDifferentBits(actual, expected)).toBe(-1);
    }
  });

  it("scores that climb far: what came before is scaled down", async () => {
    const climbing = { keys: cache.keys.slice(), values: cache.values };
    const slotSize = heads.numKvHeads * heads.headDim;
    for (let position = 0; position < NUM_POSITIONS; position++) {
      const slot = (table[Math.floor(position / 16)] ?? 0) * 16 + (position % 16);
      const grown = climbing.keys
        .subarray(slot * slotSize, (slot + 1) * slotSize)
        .map((k) => Math.round(k * position) / 8);
      climbing.keys.set(grown, slot * slotSize);
    }
    const rows = [40, 63, 130, 200].map((at) => rowOver(random, heads, table, at, 0));
    const actual = await run(rows, climbing);
    const expected = attendReference(heads, 16, climbing, rows);
    for (const [i, values] of expected.entries())
      expectClose(actual[i] ?? [], values, { absolute: 2 ** -7 }, `row ${i}`);
  });

  it("any rows of trees, chains and prompts, in pages and tiles of any size: right, and their bits alone (property)", async () => {
    const property = fc.asyncProperty(fc.integer(), async (seed) => {
      const own = new Random(seed);
      const pageSize = own.pick([16, 32, 8, 20, 3, NUM_POSITIONS]);
      const pages = randomPages(own, heads, pageSize);
      const rows = [
        ...randomRows(own, heads, pages.table),
        ...randomRows(own, heads, pages.otherTable),
        ...Array.from({ length: own.int(0, 4) }, () => rowOver(own, heads, pages.table, own.int(0, 400), 0)),
      ];
      const kernel: MatrixTile = { kind: "matrix", ...own.pick([{}, { tileRows: 16 }, { tileRows: 32 }] as const) };
      const options = { kernel, scratchRows: own.int(1, rows.length) };
      const together = await attend(context(), heads, pageSize, pages.cache, rows, options);
      expectRows(together, attendReference(heads, pageSize, pages.cache, rows), rows);
      const i = own.int(0, rows.length - 1);
      const [alone = new Float32Array()] = await attend(context(), heads, pageSize, pages.cache, rows.slice(i, i + 1));
      expect(firstDifferentBits(alone, together[i] ?? alone)).toBe(-1);
    });
    await fc.assert(property, { numRuns: 12, seed: 3 });
  });

  // What is different: idle subgroups and parts of positions (48), more than 8 steps of dimensions (144); pages that split tiles; shards.
  it.each([
    [48, 20, 2],
    [48, 448, 2],
    [144, 8, 1],
  ])(
    "heads of %i, pages of %i, %i shards: trees, chains and sequences in one tile",
    async (headDim, pageSize, numShards) => {
      const wide = { numHeads: 6, numKvHeads: 2, headDim };
      const pages = randomPages(random, wide, pageSize);
      const rows = [
        ...randomTree(random, wide, pages.table, 250, 7),
        ...[0, 1, 2].map((i) => rowOver(random, wide, pages.otherTable, 130 + i, i)),
        ...randomTree(random, wide, pages.otherTable, 29, 5),
        rowOver(random, wide, pages.table, 99, 0),
      ];
      const attendTo = (some: readonly AttentionRow[]) =>
        attend(context(), wide, pageSize, pages.cache, some, { kernel: { kind: "matrix", tileRows: 16 }, numShards });
      const together = await attendTo(rows);
      expectRows(together, attendReference(wide, pageSize, pages.cache, rows), rows);
      for (const i of [0, 6, 9, 15]) {
        const [alone = new Float32Array()] = await attendTo(rows.slice(i, i + 1));
        expect(firstDifferentBits(alone, together[i] ?? alone)).toBe(-1);
      }
    },
  );

  it("the operator's trees: lists, biases, masks of each head, rows without keys", async () => {
    const kind = { numKvHeads: 8, kvGroupNum: 2, headDim: 16, dtype: "f16", mask: "f32", maskPerHead: true } as const;
    for (const [qLen, kvSeqLen] of [
      [1, [0]],
      [5, [33, 0]],
      [40, [70]],
      [45, [300, 1, 20]], // enough for tall tiles
    ] as const) {
      const sizes = { bsz: kvSeqLen.length, qLen, kvSeqLen, options: { blockSize: 32 } };
      const call = randomCall(new Random(qLen), kind, sizes);
      const result = await runFlashDecoding(context(), checkArguments(call.args));
      expectResult(result, { ...call, tolerance: TOLERANCE }, `${qLen} rows`);
    }
  });
});

const NUM_POSITIONS = 448;

/** Keys and values of two sequences of NUM_POSITIONS, their pages in random order. */
function randomPages(random: Random, heads: HeadShape, pageSize: number) {
  const numPages = Math.ceil(NUM_POSITIONS / pageSize);
  const ids = random.shuffle(Array.from({ length: 2 * numPages }, (_, i) => i));
  const cache = randomCache(random, heads, 2 * numPages * pageSize);
  return { cache, table: ids.slice(0, numPages), otherTable: ids.slice(numPages) };
}

/** A random tree whose first positions are `root` + 1: each row's path of tree keys. */
function randomTree(
  random: Random,
  heads: HeadShape,
  table: readonly number[],
  root: number,
  numNodes: number,
): AttentionRow[] {
  const paths: number[][] = [];
  for (let node = 0; node < numNodes; node++) {
    const parent = random.int(-1, node - 1);
    paths.push([...(paths[parent] ?? []), node]);
  }
  return paths.map((path) => ({ ...rowOver(random, heads, table, root + path.length, path.length), path }));
}

/** One sequence's rows: positions of a prompt, a tree, or nodes of a chain. */
function randomRows(random: Random, heads: HeadShape, table: readonly number[]): AttentionRow[] {
  const root = random.int(0, 400);
  const count = random.int(1, 14);
  const numPath = random.int(1, 30);
  return random.pick([
    () => Array.from({ length: count }, () => rowOver(random, heads, table, random.int(0, root + 3), 0)),
    () => randomTree(random, heads, table, root, count),
    () => Array.from({ length: count }, (_, i) => rowOver(random, heads, table, root + numPath + i, numPath + i)),
  ])();
}

function expectRows(
  actual: readonly Float32Array[],
  expected: readonly Float64Array[],
  rows: readonly AttentionRow[],
): void {
  rows.forEach(({ position, linearLen, path }, row) => {
    const name = `row ${row}: ${position}, ${linearLen}, [${path}]`;
    expectClose(actual[row] ?? [], expected[row] ?? [], TOLERANCE, name);
  });
}

it.each([
  [128, "matrix"],
  [256, "matrix"],
  [272, "subgroup"],
  [120, "subgroup"],
])("heads of %i dimensions have the %s kernel", (headDim, kind) => {
  expect(chooseAttentionKernel({ family: MATRIX }, { headDim, kvType: "f16" }, { splitSize: 256 })).toBe(kind);
});
