import { expect, test } from "vitest";
import {
  MEDUSA_CHILD_BYTES,
  medusaPaths,
  NO_TOKEN,
  numMedusaParents,
  readMedusaChildren,
} from "../../../kernels/index.ts";
import { medusaPathsReference } from "../../../kernels/reference/medusa-paths.ts";
import { call, FAMILIES, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";

const device = useGpu();
const VOCAB = 400;
const POISON = 0xdeadbeef;

interface Drawn {
  readonly tokenId: number;
  readonly logShare: number;
}

/** A head's candidates, best first: equal and impossible ones among them, sometimes fewer than there could be. */
function drawnOf(random: Random, topK: number): Drawn[] {
  const tokens = random.shuffle(Array.from({ length: VOCAB }, (_, i) => i)).slice(0, topK);
  const some = random.next() < 0.3 ? tokens.slice(0, random.int(0, topK)) : tokens;
  const logs = some.map(() => Math.fround(random.next() < 0.3 ? 0 - random.int(0, 3) : 0.05 - 8 * random.next()));
  logs.sort((a, b) => b - a);
  return some.map((tokenId, i) => ({ tokenId, logShare: logs[i] ?? 0 }));
}

/** For each token some successors, rising, and what is added to all others. */
function tableOf(random: Random, numSuccessors: number) {
  return Array.from({ length: VOCAB }, () => {
    const tokens = random.shuffle(Array.from({ length: VOCAB }, (_, i) => i)).slice(0, numSuccessors);
    const listed = tokens.sort((a, b) => a - b).map((token) => [token, Math.fround(8 * random.next() - 2)] as const);
    return { listed: new Map(listed), others: Math.fround(-4 * random.next()) };
  });
}

test.each([
  { numHeads: 4, headsPerGroup: 4, numSuccessors: 7 },
  { numHeads: 3, headsPerGroup: 1, numSuccessors: 1 },
  { numHeads: 1, headsPerGroup: 1, numSuccessors: 16 },
  { numHeads: 2, headsPerGroup: 2, numSuccessors: 0 },
])("$numHeads heads, $headsPerGroup in a group, $numSuccessors successors a token", async (layout) => {
  const { numHeads, headsPerGroup, numSuccessors } = layout;
  const numGroups = numHeads / headsPerGroup;
  const gpu = device.context(FAMILIES[0]);
  const random = new Random(numHeads + numSuccessors);
  for (let round = 0; round < 8; round++) {
    // At last more candidates than a workgroup has threads.
    const [numRows, topK] = [random.int(1, 5), round === 7 && numHeads <= 2 ? 300 : random.int(1, 12)];
    const numParents = numMedusaParents(numHeads, topK);
    const table = tableOf(random, numSuccessors);
    const entries = new Uint32Array(2 * VOCAB * (numSuccessors + 1));
    const floats = new Float32Array(entries.buffer);
    for (const [row, { listed, others }] of table.entries()) {
      for (const [i, [token, affinity]] of [...listed, [NO_TOKEN, others] as const].entries()) {
        entries[2 * (row * (numSuccessors + 1) + i)] = token;
        floats[2 * (row * (numSuccessors + 1) + i) + 1] = affinity;
      }
    }
    const roots = Array.from({ length: numRows }, () => random.int(0, VOCAB - 1));
    const heads = roots.map(() => Array.from({ length: numHeads }, () => drawnOf(random, topK)));
    const resultStride = headsPerGroup * numRows * topK + 3;
    const words = new Uint32Array(2 * numGroups * resultStride).fill(POISON);
    const shares = new Float32Array(words.buffer);
    for (const [row, ofRow] of heads.entries()) {
      for (const [head, drawn] of ofRow.entries()) {
        const first = 2 * Math.floor(head / headsPerGroup) * resultStride;
        const at = first + ((head % headsPerGroup) * numRows + row) * topK;
        for (let rank = 0; rank < topK; rank++) {
          words[at + rank] = drawn[rank]?.tokenId ?? NO_TOKEN;
          shares[at + resultStride + rank] = drawn[rank]?.logShare ?? Number.NaN;
        }
      }
    }
    const children = gpu.pool.storage(numRows * numParents * topK * MEDUSA_CHILD_BYTES, "children");
    const op = await medusaPaths(gpu, {
      ...{ numHeads, headsPerGroup, topK, resultStride, children },
      ...{ roots: gpu.pool.upload(Uint32Array.from(roots), "roots"), results: gpu.pool.upload(words, "results") },
      successors: { buffer: gpu.pool.upload(entries, "successors"), numRows: VOCAB, numSuccessors },
    });
    await submit(gpu, [call(op, { numRows })]);
    const bytes = await gpu.pool.read(children, 0, children.size);
    for (const [row, ofRow] of heads.entries()) {
      for (let parent = 0; parent < numParents; parent++) {
        const head = parent === 0 ? 0 : 1 + Math.floor((parent - 1) / topK);
        const before = parent === 0 ? roots[row] : ofRow[head - 1]?.[(parent - 1) % topK]?.tokenId;
        const drawn = before === undefined ? [] : (ofRow[head] ?? []);
        const { listed, others } = table[before ?? 0] ?? { listed: new Map<number, number>(), others: 0 };
        const expected = medusaPathsReference(drawn, (token) => listed.get(token) ?? others);
        const mine = readMedusaChildren(bytes, row * numParents + parent, topK);
        expect(mine.map(({ rank }) => rank).sort((a, b) => a - b)).toEqual(drawn.map((_, rank) => rank));
        for (const [i, { tokenId, logSurvival, rank }] of mine.entries()) {
          expect(tokenId).toBe(drawn[rank]?.tokenId);
          // exp and log of f32, of values up to 12: some ulp of each, and of their sums.
          expect(Math.abs(logSurvival - (expected[rank] ?? 0))).toBeLessThan(2e-5);
          if (i > 0) expect(logSurvival).toBeLessThanOrEqual(mine[i - 1]?.logSurvival ?? 0);
        }
      }
    }
  }
});

test("a table that says nothing leaves candidates as they are, to the last bit", async () => {
  const gpu = device.context(FAMILIES[0]);
  const random = new Random(3);
  const [numHeads, topK] = [3, 8];
  const heads = Array.from({ length: numHeads }, () => drawnOf(random, topK));
  const resultStride = numHeads * topK;
  const words = new Uint32Array(2 * resultStride);
  const shares = new Float32Array(words.buffer);
  for (const [head, drawn] of heads.entries()) {
    for (let rank = 0; rank < topK; rank++) {
      words[head * topK + rank] = drawn[rank]?.tokenId ?? NO_TOKEN;
      shares[resultStride + head * topK + rank] = drawn[rank]?.logShare ?? 0;
    }
  }
  const numParents = numMedusaParents(numHeads, topK);
  const children = gpu.pool.storage(numParents * topK * MEDUSA_CHILD_BYTES, "children");
  const op = await medusaPaths(gpu, {
    ...{ numHeads, headsPerGroup: numHeads, topK, resultStride, children },
    ...{ roots: gpu.pool.upload(Uint32Array.of(7), "roots"), results: gpu.pool.upload(words, "results") },
    // One row for all tokens, whose last entry is 0.
    successors: { buffer: gpu.pool.upload(Uint32Array.of(NO_TOKEN, 0), "none"), numRows: 1, numSuccessors: 0 },
  });
  await submit(gpu, [call(op, { numRows: 1 })]);
  const bytes = await gpu.pool.read(children, 0, children.size);
  for (let parent = 0; parent < numParents; parent++) {
    const head = parent === 0 ? 0 : 1 + Math.floor((parent - 1) / topK);
    const isParent = parent === 0 || (parent - 1) % topK < (heads[head - 1]?.length ?? 0);
    const expected = isParent ? (heads[head] ?? []) : [];
    expect(readMedusaChildren(bytes, parent, topK)).toEqual(
      expected.map(({ tokenId, logShare }, rank) => ({ tokenId, logSurvival: Math.min(0, logShare), rank })),
    );
  }
});
