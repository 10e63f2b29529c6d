import { describe, expect, it } from "vitest";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { regularShape, shapeChildren, type TreeShape } from "../../../engine/speculative/tree-shape.ts";
import { uniteTrees } from "../../../engine/speculative/union.ts";
import { verifiedLane } from "../../../engine/step.ts";
import { type GpuContext, laneUnionBytes, laneUnite, readLane } from "../../../kernels/index.ts";
import { type LaneShape, laneBytes } from "../../../kernels/ops/lanes.ts";
import { FAMILIES, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { expectPathScores, randomLanes, randomTree, uploadLanes } from "./lane-case.ts";

const test = useGpu();
const context = () => test.context(FAMILIES[0]);

const ESTIMATES = [1, 0.5, 0.25, 0.7, 0.2];

interface UnionCase {
  readonly shape: LaneShape;
  /** Of each member, its trees by lane. */
  readonly proposals: readonly (readonly DraftTree[])[];
  readonly numNodes: number;
  readonly given: TreeShape | undefined;
}

/** Members' kernels one after the other, each over what the member wrote. `unions`: what an earlier step left there. */
async function lanesOf(gpu: GpuContext, { shape, proposals, numNodes, given }: UnionCase, unions: GPUBuffer) {
  const [numLanes, numMembers] = [proposals[0]?.length ?? 0, proposals.length];
  const topK = shape.maxNodes - 1;
  const children = given && gpu.pool.upload(shapeChildren(given, shape.maxNodes, topK), "shape");
  const lanes = gpu.pool.storage(numLanes * laneBytes(shape), "lanes");
  for (const [member, trees] of proposals.entries()) {
    const proposed = uploadLanes(gpu, shape, randomLanes(new Random(1), numLanes, trees, shape.maxRecent));
    gpu.device.queue.writeBuffer(lanes, 0, await gpu.pool.read(proposed, 0, lanes.size));
    const op = await laneUnite(gpu, shape, { lanes, unions }, { member, numMembers }, children && { children, topK });
    await submit(gpu, [(pass) => op(pass, { numLanes, numNodes })]);
  }
  return gpu.pool.read(lanes, 0, lanes.size);
}

/** Compares all lanes' trees with the host's. */
async function checkUnions(gpu: GpuContext, one: UnionCase, unions: GPUBuffer): Promise<DraftTree[]> {
  const { shape, proposals, numNodes, given } = one;
  const bytes = await lanesOf(gpu, one, unions);
  const names = [...proposals.keys()].map(String);
  return (proposals[0] ?? []).map((_, lane) => {
    const all = proposals.flatMap((trees, i) => {
      const tree = trees[lane];
      // As the device has it: logs, rounded.
      const rounded = tree && { ...tree, probs: tree.probs.map((prob) => Math.exp(Math.fround(Math.log(prob)))) };
      return rounded ? [{ name: names[i] ?? "", tree: rounded }] : [];
    });
    const wanted = uniteTrees(lane, all, numNodes, given);
    const { tree } = verifiedLane("a", readLane(shape, bytes, lane), names);
    expect(tree).toEqual(wanted);
    expectPathScores(shape, bytes, lane);
    return tree;
  });
}

/** Room for so many lanes, with anything in it. */
function poisonedUnions(gpu: GpuContext, shape: LaneShape, numLanes: number, numMembers: number, poison: number) {
  return gpu.pool.upload(new Uint32Array((numLanes * laneUnionBytes(shape, numMembers)) / 4).fill(poison), "unions");
}

const withEstimates = (random: Random, tree: DraftTree): DraftTree => {
  return { ...tree, probs: tree.probs.map((_, node) => (node === 0 ? 1 : random.pick(ESTIMATES))) };
};

/** Of a tree some nodes, level by level or in its order, the root being `root`. */
function partOf(random: Random, whole: DraftTree, numNodes: number, root: number, byLevel: boolean): DraftTree {
  const share = 0.8 + 0.2 * random.next();
  const order = [...whole.tokenIds.keys()].slice(1).map((node) => [node, random.next()] as const);
  if (byLevel) order.sort(([a, x], [b, y]) => (whole.depths[a] ?? 0) - (whole.depths[b] ?? 0) || x - y);
  const places = new Map([[0, 0]]);
  const tree = { tokenIds: [root], parents: [-1], probs: [1], depths: [0] };
  for (const [node] of order) {
    const parent = places.get(whole.parents[node] ?? 0);
    if (tree.tokenIds.length === numNodes) break;
    // Chains, which each node that is left out ends, stay long.
    if (parent === undefined || (random.next() > share && random.next() < 0.3)) continue;
    places.set(node, tree.tokenIds.length);
    tree.tokenIds.push(whole.tokenIds[node] ?? 0);
    tree.parents.push(parent);
    tree.probs.push(1);
    tree.depths.push(whole.depths[node] ?? 0);
  }
  return withEstimates(random, tree);
}

/** Every node's parent is the last node with probability `depthShare`, and one of the first eighth of all otherwise. */
function largeTree(random: Random, numNodes: number, depthShare: number, maxDepth: number): DraftTree {
  const tree = { tokenIds: [0], parents: [-1], probs: [1], depths: [0] };
  const numChildren = [0];
  while (tree.tokenIds.length < numNodes) {
    const last = tree.tokenIds.length - 1;
    const wish = random.next() < depthShare ? last : random.int(0, Math.min(last, numNodes >> 3));
    const parent = (tree.depths[wish] ?? 0) < maxDepth ? wish : 0;
    const token = numChildren[parent] ?? 0;
    numChildren[parent] = token + 1;
    tree.tokenIds.push(token);
    tree.parents.push(parent);
    tree.probs.push(1);
    tree.depths.push((tree.depths[parent] ?? 0) + 1);
    numChildren.push(0);
  }
  return tree;
}

describe("lane_unite", () => {
  it.each([
    ["", []],
    [" of a shape", [[3], [2, 2], [4, 1], [1, 3, 1], [2, 1, 1, 2], [11]]],
  ])("makes the host's union%s of several drafters' trees, also where estimates are equal", async (_, branchings) => {
    const gpu = context();
    const random = new Random(4);
    const shape = { maxNodes: 12, maxRecent: 5 };
    let [numShared, numCut] = [0, 0];
    for (let round = 0; round < 20; round++) {
      const [numLanes, numMembers] = [random.int(1, 4), random.int(2, 4)];
      const numNodes = random.int(1, shape.maxNodes);
      const proposals = Array.from({ length: numMembers }, () =>
        Array.from({ length: numLanes }, (_, lane) => {
          const tree = randomTree(random, numNodes, 4);
          return withEstimates(random, { ...tree, tokenIds: tree.tokenIds.with(0, lane) });
        }),
      );
      const branching = branchings[round % branchings.length];
      const given = branching && regularShape(branching);
      const unions = poisonedUnions(gpu, shape, numLanes, numMembers, 3);
      for (const tree of await checkUnions(gpu, { shape, proposals, numNodes, given }, unions)) {
        if (tree.proposers?.some(({ length }) => length > 1)) numShared++;
        if (tree.tokenIds.length === numNodes) numCut++;
      }
    }
    expect(Math.min(numShared, numCut)).toBeGreaterThan(5);
  });

  it.each([
    { name: "chains", maxNodes: 1024, numMembers: 4, depthShare: 0.98, depth: 64 },
    { name: "wide trees", maxNodes: 1024, numMembers: 3, depthShare: 0.1, depth: 8 },
    { name: "one tree", maxNodes: 1024, numMembers: 1, depthShare: 0.8, depth: 32 },
    { name: "the smallest that have many threads", maxNodes: 65, numMembers: 4, depthShare: 0.7, depth: 8 },
    { name: "the largest that have few threads", maxNodes: 64, numMembers: 2, depthShare: 0.7, depth: 8 },
    {
      ...{ name: "chains of a shape", maxNodes: 1024, numMembers: 3, depthShare: 0.98, depth: 64 },
      branching: [15, ...new Array<number>(63).fill(1)],
    },
    {
      ...{ name: "wide trees of a shape", maxNodes: 1024, numMembers: 4, depthShare: 0.1, depth: 4 },
      branching: [12, 12, 3, 1],
    },
    // More children than the table of the shape has, which go on with those of the first child there.
    { name: "stars of a shape", maxNodes: 1024, numMembers: 2, depthShare: 0, depth: 1, branching: [511, 1] },
  ])("makes the host's union of $numMembers of $maxNodes nodes: $name", async (one) => {
    const { maxNodes, numMembers, depthShare, depth } = one;
    const given = "branching" in one && one.branching ? regularShape(one.branching) : undefined;
    const gpu = context();
    const random = new Random(maxNodes + numMembers);
    const [shape, numLanes] = [{ maxNodes, maxRecent: 65 }, 3];
    const unions = poisonedUnions(gpu, shape, numLanes, numMembers, 0xffffffff);
    const trees: DraftTree[] = [];
    // What a step leaves behind, the next one finds.
    for (const numNodes of [maxNodes, Math.ceil(maxNodes / 3), maxNodes]) {
      const wholes = Array.from({ length: numLanes }, () => {
        return largeTree(random, Math.ceil(1.2 * maxNodes), depthShare, depthShare === 0 ? 1 : 64);
      });
      const proposals = Array.from({ length: numMembers }, (_, member) =>
        wholes.map((whole, lane) => {
          const most = (member + lane) % 4 === 3 ? 1 : numNodes;
          return partOf(random, whole, most, lane, (member + lane) % 2 === 0);
        }),
      );
      trees.push(...(await checkUnions(gpu, { shape, proposals, numNodes, given }, unions)));
    }
    expect(Math.max(...trees.flatMap(({ depths }) => depths))).toBeGreaterThanOrEqual(depth);
    const numShared = trees.flatMap(({ proposers = [] }) => proposers.filter(({ length }) => length > 1)).length;
    if (numMembers > 1) expect(numShared).toBeGreaterThan(maxNodes / 2);
    expect(Math.max(...trees.map(({ tokenIds }) => tokenIds.length))).toBeGreaterThan(maxNodes / 8);
  });
});
