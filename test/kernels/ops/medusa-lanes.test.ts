import { describe, expect, it, test } from "vitest";
import { slotAt } from "../../../engine/runner/batch.ts";
import { type ChildrenOf, likeliestTree, shapedTree } from "../../../engine/speculative/medusa/likeliest-tree.ts";
import { regularShape, shapeChildren } from "../../../engine/speculative/tree-shape.ts";
import {
  MEDUSA_CHILD_BYTES,
  type MedusaChild,
  medusaLeafBytes,
  medusaRows,
  medusaTree,
  NO_TOKEN,
  numMedusaParents,
  readLane,
  SAMPLING_ROW_BYTES,
  writeSamplingRow,
} from "../../../kernels/index.ts";
import { laneBytes } from "../../../kernels/ops/lanes.ts";
import { FAMILIES, readU32, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { BLOCK_SIZE, randomLanes, TABLE_WORDS, uploadLanes } from "./lane-case.ts";

const device = useGpu();
const POISON = 0xdeadbeef;

/** What a head proposes below a node, best first: equal ones among them, often fewer than there could be. */
function childrenBelow(random: Random, tokens: readonly number[]): MedusaChild[] {
  const ranks = random.shuffle(tokens.map((_, rank) => rank));
  const logs = ranks.map(() => Math.fround(random.next() < 0.6 ? -random.int(0, 4) / 2 : -3 * random.next()));
  logs.sort((a, b) => b - a);
  return ranks.map((rank, i) => ({ tokenId: tokens[rank] ?? 0, logSurvival: logs[i] ?? 0, rank }));
}

describe.each([
  { numHeads: 4, headsPerGroup: 4 },
  { numHeads: 3, headsPerGroup: 1 },
])("lanes of $numHeads heads, $headsPerGroup of them in a group", ({ numHeads, headsPerGroup }) => {
  const numGroups = numHeads / headsPerGroup;

  it("the heads look at the token before the root, and each takes its best at its own position", async () => {
    const gpu = device.context(FAMILIES[0]);
    const random = new Random(1);
    const shape = { maxNodes: 8, maxRecent: 5 };
    for (let round = 0; round < 6; round++) {
      const numLanes = random.int(1, 5);
      const [dead, undrafted] = [random.int(0, 2 * numLanes), random.int(0, 2 * numLanes)];
      const lanes = randomLanes(random, numLanes, [], shape.maxRecent, 1).map((lane, i) => ({
        ...{ ...lane, isDrafted: i !== undrafted },
      }));
      const samplingStride = headsPerGroup * 5;
      const rowWords = SAMPLING_ROW_BYTES / 4;
      const words = new Uint32Array(numGroups * samplingStride * rowWords).fill(POISON);
      const samplingRows = gpu.pool.upload(words, "rows");
      const [slots, roots] = ["slots", "roots"].map((name) => gpu.pool.storage(4 * numLanes, name));
      if (!slots || !roots) throw new Error("two buffers were asked for");
      const tables = gpu.pool.upload(Uint32Array.from(lanes.flatMap(({ blockTable }) => blockTable)), "tables");
      const op = await medusaRows(gpu, shape, {
        ...{
          lanes: uploadLanes(gpu, shape, lanes, dead),
          numHeads,
          headsPerGroup,
          samplingRows,
          samplingStride,
          slots,
          roots,
        },
        ...{ tables, tableWords: TABLE_WORDS, blockSize: BLOCK_SIZE },
        ...{ children: slots, topK: 1 },
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
        i === dead || i === undrafted ? 0 : slotAt(blockTable, tokenIds.length - 2),
      );
      expect([...(await readU32(gpu, slots, numLanes))]).toEqual(wanted);
      expect([...(await readU32(gpu, roots, numLanes))]).toEqual(lanes.map(({ tokenIds }) => tokenIds.at(-1)));
    }
  });
});

const SMALL = { numHeads: 4, topK: 5, shape: { maxNodes: 24, maxRecent: 6 }, numRounds: 25 };
const BROAD = { numHeads: 6, topK: 10, shape: { maxNodes: 1024, maxRecent: 7 }, numRounds: 4 };
const DEEP = { numHeads: 64, topK: 3, shape: { maxNodes: 300, maxRecent: 65 }, numRounds: 4 };

test.each([
  ["the likeliest", SMALL, undefined],
  ["of a regular shape", SMALL, regularShape([3, 2, 1, 1])],
  ["of a chain longer than there are heads", SMALL, regularShape([1, 1, 1, 1, 1])],
  ["of a shape with many children", SMALL, regularShape([5, 2])],
  ["the likeliest of many", BROAD, undefined],
  ["the likeliest of many deep ones", DEEP, undefined],
  ["of a large shape", BROAD, regularShape([8, 6, 5, 3])],
  ["of a deep shape", DEEP, regularShape([2, 2, ...new Array<number>(62).fill(1)])],
])("the trees are the host's, node by node, also where scores are equal: %s", async (_, sizes, tree) => {
  const gpu = device.context(FAMILIES[0]);
  const random = new Random(2);
  const { numHeads, topK, shape, numRounds } = sizes;
  const numParents = numMedusaParents(numHeads, topK);
  const vocab = Array.from({ length: topK + 3 }, (__, i) => i + 1);
  let [numEnded, mostNodes] = [0, 0];
  for (let round = 0; round < numRounds; round++) {
    const numLanes = random.int(1, 4);
    const numNodes = round === 0 ? shape.maxNodes : random.int(1, shape.maxNodes);
    const maxDepth = round === 0 ? shape.maxRecent - 1 : random.int(1, shape.maxRecent - 1);
    const undrafted = random.int(0, 3 * numLanes);
    const lanes = randomLanes(random, numLanes, [], shape.maxRecent, 1).map((lane, i) => ({
      ...{ ...lane, isDrafted: i !== undrafted },
    }));
    const words = new Uint32Array((numLanes * numParents * topK * MEDUSA_CHILD_BYTES) / 4).fill(POISON);
    const floats = new Float32Array(words.buffer);
    const children = lanes.map((__, lane): ChildrenOf => {
      // A head has candidates of its own, and each parent an order of them.
      const heads = Array.from({ length: numHeads }, () => {
        const tokens = random.shuffle(vocab).slice(0, topK);
        return random.next() < 1.6 / numHeads ? tokens.slice(0, random.int(0, topK)) : tokens;
      });
      const lists = Array.from({ length: numParents }, (___, parent) =>
        childrenBelow(random, heads[parent === 0 ? 0 : 1 + Math.floor((parent - 1) / topK)] ?? []),
      );
      for (const [parent, list] of lists.entries()) {
        for (let place = 0; place < topK; place++) {
          const at = (((lane * numParents + parent) * topK + place) * MEDUSA_CHILD_BYTES) / 4;
          const child = list[place];
          words[at] = child?.tokenId ?? NO_TOKEN;
          floats[at + 1] = child?.logSurvival ?? Number.NaN;
          words[at + 2] = child?.rank ?? POISON;
        }
      }
      return (depth, rank) => (depth >= numHeads ? [] : (lists[depth === 0 ? 0 : 1 + (depth - 1) * topK + rank] ?? []));
    });
    const buffer = uploadLanes(gpu, shape, lanes);
    const leaves = new Uint32Array((numLanes * medusaLeafBytes(shape)) / 4).fill(POISON);
    const op = await medusaTree(
      gpu,
      shape,
      {
        ...{ lanes: buffer, numHeads, topK },
        ...{ children: gpu.pool.upload(words, "children"), leaves: gpu.pool.upload(leaves, "leaves") },
      },
      tree && gpu.pool.upload(shapeChildren(tree, shape.maxNodes, topK), "shape"),
    );
    await submit(gpu, [(pass) => op(pass, { numLanes, numNodes, level: maxDepth })]);
    const bytes = await gpu.pool.read(buffer, 0, numLanes * laneBytes(shape));
    for (const [i, { tokenIds, isDrafted }] of lanes.entries()) {
      const { tree: got } = readLane(shape, bytes, i);
      const below = children[i] ?? (() => []);
      const [root, limits] = [tokenIds.at(-1) ?? 0, { maxNodes: isDrafted ? numNodes : 1, maxDepth }];
      const wanted = tree ? shapedTree(root, below, tree, limits) : likeliestTree(root, below, limits);
      expect(got.tokenIds).toEqual(wanted.tokenIds);
      expect([-1, ...got.parents.slice(1)]).toEqual(wanted.parents);
      expect(got.depths).toEqual(wanted.depths);
      expect(got.logSurvivals.map(Math.exp)).toEqual(wanted.probs);
      if (wanted.tokenIds.length < numNodes) numEnded++;
      mostNodes = Math.max(mostNodes, wanted.tokenIds.length);
    }
  }
  if (sizes === SMALL) expect(numEnded).toBeGreaterThan(3);
  else expect(mostNodes).toBeGreaterThan(shape.maxNodes / 2);
});
