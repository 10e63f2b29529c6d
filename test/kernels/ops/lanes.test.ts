import { describe, expect, it } from "vitest";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { walkTree } from "../../../engine/speculative/walk.ts";
import { laneRows, laneWalk, NO_TOKEN, readLane } from "../../../kernels/index.ts";
import { laneBytes, packLanes } from "../../../kernels/ops/lanes.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import { FAMILIES, readU32, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import {
  BLOCK_SIZE,
  hostBatch,
  idleRow,
  randomLanes,
  seenRow,
  seenSample,
  TABLE_WORDS,
  uploadBatch,
  uploadLanes,
} from "./lane-case.ts";

const test = useGpu();
const context = () => test.context(FAMILIES[0]);

function randomTree(random: Random, maxNodes: number, maxDepth: number): DraftTree {
  const wishes = Array.from({ length: random.int(0, 2 * maxNodes) }, () => {
    return [random.int(0, 50), random.int(0, 3)] as const;
  });
  const root = random.int(0, 3);
  for (let length = wishes.length; ; length--) {
    const tree = treeFrom(root, wishes.slice(0, length));
    if (tree.tokenIds.length <= maxNodes && Math.max(...tree.depths) <= maxDepth) return tree;
  }
}

describe("lane_rows", () => {
  it("writes what the host writes; nodes that are not there, and dead lanes, idle", async () => {
    const gpu = context();
    const random = new Random(1);
    for (const [maxNodes, maxRecent] of [
      [1, 1],
      [8, 7],
      [13, 4],
    ] as const) {
      const shape = { maxNodes, maxRecent };
      for (let round = 0; round < 8; round++) {
        const numLanes = random.int(1, 6);
        const numNodes = random.int(1, maxNodes);
        const trees = Array.from({ length: numLanes }, () => randomTree(random, numNodes, maxRecent - 1));
        const lanes = randomLanes(random, numLanes, trees, maxRecent);
        const dead = random.int(0, 2 * numLanes);
        const { batch, layout } = uploadBatch(gpu, lanes, numLanes * numNodes, maxRecent - 1);
        const op = await laneRows(gpu, shape, uploadLanes(gpu, shape, lanes, dead), batch);
        await submit(gpu, [(pass) => op(pass, { numLanes, numNodes, level: 0 })]);
        const bytes = await gpu.pool.read(batch.buffer, 0, layout.numBytes);
        const host = hostBatch(lanes, () => 1);
        let at = 0;
        for (const [i, lane] of lanes.entries()) {
          for (let node = 0; node < numNodes; node++) {
            const row = i * numNodes + node;
            const isThere = node < lane.tree.tokenIds.length;
            const got = seenRow(bytes, layout, row);
            expect(got).toEqual(isThere && i !== dead ? seenRow(host.bytes, host.layout, at) : idleRow(lane));
            const sample = seenSample(bytes, layout, row);
            expect(sample.row).toBe(row);
            if (isThere && i !== dead) {
              expect(sample.parameters).toEqual(seenSample(host.bytes, host.layout, at).parameters);
            }
            if (isThere) at++;
          }
        }
      }
    }
  });
});

describe("lane_walk", () => {
  it("emits and moves what the host's walk does; lanes without a number to draw die, dead ones stay", async () => {
    const gpu = context();
    const random = new Random(2);
    const shape = { maxNodes: 12, maxRecent: 6 };
    let [numAccepted, numDied] = [0, 0];
    for (let round = 0; round < 40; round++) {
      const numLanes = random.int(1, 5);
      const numNodes = random.int(1, shape.maxNodes);
      const trees = Array.from({ length: numLanes }, () => randomTree(random, numNodes, shape.maxRecent - 1));
      const lanes = randomLanes(random, numLanes, trees, shape.maxRecent);
      const dead = random.int(0, 3 * numLanes);
      const buffer = uploadLanes(gpu, shape, lanes, dead);
      const drawn = Uint32Array.from({ length: numLanes * numNodes }, () =>
        random.next() < 0.04 ? NO_TOKEN : random.int(0, 3),
      );
      const tables = gpu.pool.upload(Uint32Array.from(lanes.flatMap(({ blockTable }) => blockTable)), "tables");
      const moves = gpu.pool.upload(new Uint32Array(2 * numLanes * (shape.maxRecent - 1)).fill(77), "moves");
      const op = await laneWalk(gpu, shape, {
        ...{ lanes: buffer, drawn: gpu.pool.upload(drawn, "drawn"), tables, moves },
        ...{ tableWords: TABLE_WORDS, blockSize: BLOCK_SIZE },
      });
      await submit(gpu, [(pass) => op(pass, { numLanes, numNodes, level: 0 })]);
      const bytes = await gpu.pool.read(buffer, 0, numLanes * laneBytes(shape));
      const moved = await readU32(gpu, moves, moves.size / 4);
      for (const [i, lane] of lanes.entries()) {
        const { path, tokenIds } = walkTree(lane.tree, drawn.subarray(i * numNodes, (i + 1) * numNodes));
        const died = tokenIds.at(-1) === NO_TOKEN;
        const result = readLane(shape, bytes, i);
        const width = 2 * (shape.maxRecent - 1);
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
        expect(result.tree.tokenIds).toEqual(lane.tree.tokenIds);
        expect(got).toEqual([...wanted, ...new Array(width - wanted.length).fill(0)]);
        numAccepted += path.length;
        if (died) numDied++;
      }
    }
    expect(numAccepted).toBeGreaterThan(20);
    expect(numDied).toBeGreaterThan(2);
  });
});

describe("packed lanes", () => {
  it("must have at least one recent token, and no more than fit", () => {
    const lane = {
      sampling: { seed: [0, 0], choice: 0, position: 0, temperature: 0, topP: 1, minP: 0, topK: 0, typicalP: 1 },
    } as const;
    const shape = { maxNodes: 2, maxRecent: 2 };
    expect(() => packLanes(shape, [{ ...lane, numTokens: 4, recent: [] }])).toThrow(/lane 0 has 0 recent/);
    expect(() => packLanes(shape, [{ ...lane, numTokens: 4, recent: [1, 2, 3] }])).toThrow(/lane 0 has 3 recent/);
    const bytes = packLanes(shape, [{ ...lane, numTokens: 4, recent: [1, 2] }]).buffer;
    expect(readLane(shape, bytes, 0)).toEqual({
      ...{ alive: true, numTokens: 4, emitted: [1, 2] },
      tree: { tokenIds: [2], parents: [0], depths: [0], logSurvivals: [0] },
    });
  });
});
