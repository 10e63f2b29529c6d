import { expect, test } from "vitest";
import { keepNodes } from "../../../engine/speculative/budget/cut-trees.ts";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { walkTree } from "../../../engine/speculative/walk.ts";
import { laneWalk, NO_TOKEN, readLane } from "../../../kernels/index.ts";
import { laneBytes } from "../../../kernels/ops/lanes.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import { FAMILIES, readU32, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { BLOCK_SIZE, randomLanes, randomRows, uploadLanes } from "./lane-case.ts";

const device = useGpu();

/** A tree of that many nodes; half of them go below the deepest one so far, as long as it may have children. */
function randomTree(random: Random, numNodes: number, maxDepth: number): DraftTree {
  const wishes: [number, number][] = [];
  const [depths, inner, numChildren] = [[0], [0], [0]];
  for (let node = 1, deepest = 0; node < numNodes; node++) {
    const parent = random.next() < 0.5 && (depths[deepest] ?? 0) < maxDepth ? deepest : random.pick(inner);
    const token = numChildren[parent] ?? 0;
    numChildren[parent] = token + 1;
    numChildren.push(0);
    wishes.push([parent, token]);
    const depth = (depths[parent] ?? 0) + 1;
    depths.push(depth);
    if (depth < maxDepth) inner.push(node);
    if (depth > (depths[deepest] ?? 0)) deepest = node;
  }
  return treeFrom(random.int(0, 3), wishes);
}

/** The tree's deepest node, the last of them, and its ancestors. */
function deepestPath({ depths, parents }: DraftTree): number[] {
  const path: number[] = [];
  for (let node = depths.lastIndexOf(Math.max(...depths)); node >= 0; node = parents[node] ?? -1) path.unshift(node);
  return path;
}

test("emits and moves what the host's walk does; lanes without a number to draw die, dead ones stay", async () => {
  const gpu = device.context(FAMILIES[0]);
  const random = new Random(2);
  let [numAccepted, numDied] = [0, 0];
  for (const [maxNodes, maxRecent, numRounds] of [
    [12, 6, 60],
    [300, 9, 8],
    [1024, 65, 8],
  ] as const) {
    const shape = { maxNodes, maxRecent };
    const tableWords = Math.ceil((40 + maxNodes) / BLOCK_SIZE);
    let longest = 0;
    for (let round = 0; round < numRounds; round++) {
      const numLanes = random.int(1, 5);
      const numNodes = random.int(1, maxNodes);
      const trees = Array.from({ length: numLanes }, () => randomTree(random, random.int(1, numNodes), maxRecent - 1));
      const lanes = randomLanes(random, numLanes, trees, maxRecent, 0, tableWords);
      const { rows, numRows } = randomRows(random, trees, numNodes);
      const dead = random.int(0, 3 * numLanes);
      const buffer = uploadLanes(gpu, shape, lanes, dead, rows);
      const drawn = Uint32Array.from({ length: numRows }, () => (random.next() < 0.04 ? NO_TOKEN : random.int(0, 3)));
      // Chance alone never gets far down.
      for (const [i, tree] of trees.entries()) {
        const { firstRow = 0, numKept = 0 } = rows[i] ?? {};
        const path = random.next() < 0.5 ? deepestPath(tree).filter((node) => node < numKept) : [];
        for (const node of path.slice(1)) drawn[firstRow + (tree.parents[node] ?? 0)] = tree.tokenIds[node] ?? 0;
      }
      const tables = gpu.pool.upload(Uint32Array.from(lanes.flatMap(({ blockTable }) => blockTable)), "tables");
      const moves = gpu.pool.upload(new Uint32Array(2 * numLanes * (maxRecent - 1)).fill(77), "moves");
      const op = await laneWalk(gpu, shape, {
        ...{ lanes: buffer, drawn: gpu.pool.upload(drawn, "drawn"), tables, moves },
        ...{ tableWords, blockSize: BLOCK_SIZE },
      });
      await submit(gpu, [(pass) => op(pass, { numLanes, numNodes, numRows })]);
      const bytes = await gpu.pool.read(buffer, 0, numLanes * laneBytes(shape));
      const moved = await readU32(gpu, moves, moves.size / 4);
      for (const [i, lane] of lanes.entries()) {
        const { firstRow = 0, numKept = 0 } = rows[i] ?? {};
        const verified = keepNodes(lane.tree, new Set(lane.tree.tokenIds.slice(0, numKept).keys()));
        const { path, tokenIds } = walkTree(verified, drawn.subarray(firstRow, firstRow + numKept));
        const died = tokenIds.at(-1) === NO_TOKEN;
        const result = readLane(shape, bytes, i);
        const width = 2 * (maxRecent - 1);
        const got = [...moved.subarray(i * width, (i + 1) * width)];
        if (i === dead) {
          expect(result).toMatchObject({ alive: false, emitted: [], numTokens: lane.tokenIds.length });
          expect(got).toEqual(got.map(() => 0));
          continue;
        }
        const slot = (index: number) => (lane.blockTable[index >> 4] ?? 0) * BLOCK_SIZE + (index % BLOCK_SIZE);
        const root = lane.tokenIds.length - 1;
        const wanted = path.flatMap((node, d) => [slot(root + node), slot(root + d + 1)]);
        expect(result.emitted).toEqual(tokenIds);
        expect(result.alive).toBe(!died);
        expect(result.numTokens).toBe(lane.tokenIds.length + tokenIds.length);
        expect(result.drafted().tokenIds).toEqual(lane.tree.tokenIds);
        expect(result.tree.tokenIds).toEqual(lane.tree.tokenIds.slice(0, numKept));
        expect(result.firstRow).toBe(firstRow);
        expect(got).toEqual([...wanted, ...new Array(width - wanted.length).fill(0)]);
        numAccepted += path.length;
        longest = Math.max(longest, path.length);
        if (died) numDied++;
      }
    }
    expect(longest).toBe(maxRecent - 1);
  }
  expect(numAccepted).toBeGreaterThan(20);
  expect(numDied).toBeGreaterThan(2);
});
