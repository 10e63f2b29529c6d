import { describe, expect, it } from "vitest";
import { slotAt } from "../../../engine/runner/batch.ts";
import { cartesianTree } from "../../../engine/speculative/medusa/cartesian-tree.ts";
import type { Candidate } from "../../../engine/speculative/tree-builder.ts";
import {
  medusaRows,
  medusaTree,
  NO_TOKEN,
  readLane,
  SAMPLING_ROW_BYTES,
  writeSamplingRow,
} from "../../../kernels/index.ts";
import { laneBytes } from "../../../kernels/ops/lanes.ts";
import { FAMILIES, readU32, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { BLOCK_SIZE, randomLanes, TABLE_WORDS, uploadLanes } from "./lane-case.ts";

const test = useGpu();
const POISON = 0xdeadbeef;

/** A head's candidates, best first: equal ones among them, often fewer than there could be. */
function candidatesOf(random: Random, topK: number): Candidate[] {
  const tokens = random.shuffle([1, 2, 3, 4, 5, 6, 7, 8]).slice(0, random.next() < 0.4 ? random.int(0, topK) : topK);
  const logs = tokens.map(() => Math.fround(random.next() < 0.6 ? -random.int(0, 4) / 2 : 0.1 - 3 * random.next()));
  logs.sort((a, b) => b - a);
  return tokens.map((tokenId, i) => ({ tokenId, logSurvival: logs[i] ?? 0 }));
}

describe.each([
  { numHeads: 4, headsPerGroup: 4 },
  { numHeads: 3, headsPerGroup: 1 },
])("lanes of $numHeads heads, $headsPerGroup of them in a group", ({ numHeads, headsPerGroup }) => {
  const numGroups = numHeads / headsPerGroup;

  it("the heads look at the token before the root, and each takes its best at its own position", async () => {
    const gpu = test.context(FAMILIES[0]);
    const random = new Random(1);
    const shape = { maxNodes: 8, maxRecent: 5 };
    for (let round = 0; round < 6; round++) {
      const numLanes = random.int(1, 5);
      const lanes = randomLanes(random, numLanes, [], shape.maxRecent, 1);
      const dead = random.int(0, 2 * numLanes);
      const samplingStride = headsPerGroup * 5;
      const rowWords = SAMPLING_ROW_BYTES / 4;
      const words = new Uint32Array(numGroups * samplingStride * rowWords).fill(POISON);
      const samplingRows = gpu.pool.upload(words, "rows");
      const slots = gpu.pool.storage(4 * numLanes, "slots");
      const tables = gpu.pool.upload(Uint32Array.from(lanes.flatMap(({ blockTable }) => blockTable)), "tables");
      const op = await medusaRows(gpu, shape, {
        ...{
          lanes: uploadLanes(gpu, shape, lanes, dead),
          numHeads,
          headsPerGroup,
          samplingRows,
          samplingStride,
          slots,
        },
        ...{ tables, tableWords: TABLE_WORDS, blockSize: BLOCK_SIZE },
        ...{ results: slots, resultStride: 0, topK: 1 },
      });
      await submit(gpu, [(pass) => op(pass, { numLanes, numNodes: 8, level: 4 })]);
      const expected = new DataView(words.buffer);
      for (const [i, { params, choice, tokenIds }] of lanes.entries()) {
        for (let head = 0; head < numHeads; head++) {
          const row = Math.floor(head / headsPerGroup) * samplingStride + (head % headsPerGroup) * numLanes + i;
          writeSamplingRow(expected, row, { ...params, choice, temperature: 0, position: tokenIds.length + head });
        }
      }
      expect(await readU32(gpu, samplingRows, words.length)).toEqual(words);
      const wanted = lanes.map(({ blockTable, tokenIds }, i) =>
        i === dead ? 0 : slotAt(blockTable, tokenIds.length - 2),
      );
      expect([...(await readU32(gpu, slots, numLanes))]).toEqual(wanted);
    }
  });

  it("the trees are the host's, node by node, also where scores are equal", async () => {
    const gpu = test.context(FAMILIES[0]);
    const random = new Random(2);
    const [topK, shape] = [5, { maxNodes: 24, maxRecent: 6 }];
    let numEnded = 0;
    for (let round = 0; round < 25; round++) {
      const numLanes = random.int(1, 4);
      const numNodes = random.int(1, shape.maxNodes);
      const maxDepth = random.int(1, shape.maxRecent - 1);
      const lanes = randomLanes(random, numLanes, [], shape.maxRecent, 1);
      const heads = lanes.map(() => Array.from({ length: numHeads }, () => candidatesOf(random, topK)));
      const resultStride = headsPerGroup * 4 * topK + 3;
      const words = new Uint32Array(2 * numGroups * resultStride).fill(POISON);
      const floats = new Float32Array(words.buffer);
      for (const [i, ofLane] of heads.entries()) {
        for (const [head, candidates] of ofLane.entries()) {
          const row = (head % headsPerGroup) * numLanes + i;
          const at = 2 * Math.floor(head / headsPerGroup) * resultStride + row * topK;
          for (let rank = 0; rank < topK; rank++) {
            words[at + rank] = candidates[rank]?.tokenId ?? NO_TOKEN;
            floats[at + resultStride + rank] = candidates[rank]?.logSurvival ?? NaN;
          }
        }
      }
      const buffer = uploadLanes(gpu, shape, lanes);
      const results = gpu.pool.upload(words, "results");
      const op = await medusaTree(gpu, shape, { lanes: buffer, numHeads, headsPerGroup, results, resultStride, topK });
      await submit(gpu, [(pass) => op(pass, { numLanes, numNodes, level: maxDepth })]);
      const bytes = await gpu.pool.read(buffer, 0, numLanes * laneBytes(shape));
      for (const [i, { tokenIds }] of lanes.entries()) {
        const { tree } = readLane(shape, bytes, i);
        const wanted = cartesianTree(tokenIds.at(-1) ?? 0, heads[i] ?? [], { maxNodes: numNodes, maxDepth });
        expect(tree.tokenIds).toEqual(wanted.tokenIds);
        expect([-1, ...tree.parents.slice(1)]).toEqual(wanted.parents);
        expect(tree.depths).toEqual(wanted.depths);
        expect(tree.logSurvivals.map(Math.exp)).toEqual(wanted.probs);
        if (wanted.tokenIds.length < numNodes) numEnded++;
      }
    }
    expect(numEnded).toBeGreaterThan(3);
  });
});
