import { describe, expect, it } from "vitest";
import { BatchBuilder, batchLayout } from "../../../engine/runner/batch.ts";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { type Candidate, DynamicTreeBuilder } from "../../../engine/speculative/tree-builder.ts";
import { walkTree } from "../../../engine/speculative/walk.ts";
import {
  draftCatchUp,
  draftGrow,
  draftPoolBytes,
  draftTree,
  laneRows,
  laneWalk,
  NO_TOKEN,
  readLane,
} from "../../../kernels/index.ts";
import { laneBytes, packLanes } from "../../../kernels/ops/lanes.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import { FAMILIES, readU32, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import {
  BLOCK_SIZE,
  type HostLane,
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

/** The lanes' rows as the host writes them: what the tests compare with. */
function hostBatch(lanes: readonly HostLane[], numKnown: (lane: HostLane) => number) {
  const layout = batchLayout(256, 256, 4096);
  const builder = new BatchBuilder(layout);
  for (const lane of lanes) {
    const { tokenIds, blockTable, params, choice, tree } = lane;
    const numTokens = numKnown(lane);
    const startPosition = tokenIds.length - numTokens;
    builder.add({
      ...{ tokenIds, startPosition, numTokens, blockTable, rootPosition: tokenIds.length - 1 },
      ...{ sampling: { params, choice }, tree: { ...tree, firstNode: 1 } },
    });
  }
  const bytes = new ArrayBuffer(layout.numBytes);
  new Uint8Array(bytes).set(builder.bytes);
  return { bytes, layout };
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

/** A drafter's candidates after a path: as many as topK or fewer, with equal scores among them. */
function candidatesOf(seed: number, path: readonly number[], topK: number): Candidate[] {
  const random = new Random(path.reduce((hash, token) => Math.imul(hash ^ token, 0x01000193), seed));
  const tokens = random.shuffle([1, 2, 3, 4, 5, 6, 7, 8]).slice(0, random.next() < 0.2 ? random.int(0, topK) : topK);
  return tokens.map((tokenId) => ({
    tokenId,
    logSurvival: Math.fround(random.next() < 0.5 ? -random.int(0, 4) / 2 : -3 * random.next()),
  }));
}

describe("draft_catch_up", () => {
  it("computes the tokens that the draft lacks, and samples after the last", async () => {
    const gpu = context();
    const random = new Random(3);
    const shape = { maxNodes: 8, maxRecent: 5 };
    for (let round = 0; round < 10; round++) {
      const numLanes = random.int(1, 6);
      const lanes = randomLanes(random, numLanes, [], shape.maxRecent);
      const dead = random.int(0, 2 * numLanes);
      const { batch, layout } = uploadBatch(gpu, lanes, numLanes * shape.maxRecent, 3);
      const op = await draftCatchUp(gpu, shape, uploadLanes(gpu, shape, lanes, dead), batch);
      await submit(gpu, [(pass) => op(pass, { numLanes, numNodes: 8, level: 0 })]);
      const bytes = await gpu.pool.read(batch.buffer, 0, layout.numBytes);
      const host = hostBatch(lanes, ({ numRecent }) => numRecent);
      let at = 0;
      for (const [i, lane] of lanes.entries()) {
        for (let j = 0; j < shape.maxRecent; j++) {
          const isThere = j < lane.numRecent;
          const got = seenRow(bytes, layout, i * shape.maxRecent + j);
          expect(got).toEqual(isThere && i !== dead ? seenRow(host.bytes, host.layout, at) : idleRow(lane));
          if (isThere) at++;
        }
        const sample = seenSample(bytes, layout, i);
        expect(sample.parameters).toEqual(seenSample(host.bytes, host.layout, i).parameters);
        expect(sample.row).toBe(i * shape.maxRecent + (i === dead ? 0 : lane.numRecent - 1));
      }
    }
  });
});

describe("draft_grow and draft_tree", () => {
  it.each([
    { topK: 3, maxNodes: 8, maxRecent: 7 },
    { topK: 1, maxNodes: 5, maxRecent: 5 },
    { topK: 4, maxNodes: 16, maxRecent: 4 },
    { topK: 2, maxNodes: 2, maxRecent: 2 },
  ])("top $topK, $maxNodes nodes: the host's frontiers and the host's trees", async ({ topK, maxNodes, maxRecent }) => {
    const gpu = context();
    const shape = { maxNodes, maxRecent };
    const random = new Random(topK);
    let numIdle = 0;
    for (let round = 0; round < 8; round++) {
      const numLanes = random.int(1, 4);
      const numNodes = random.int(2, maxNodes);
      const maxDepth = random.int(1, maxRecent - 1);
      const lanes = randomLanes(random, numLanes, [], maxRecent);
      const { batch, layout } = uploadBatch(gpu, lanes, numLanes * topK, maxRecent - 1);
      const words = packLanes(
        shape,
        lanes.map(({ params, choice, tokenIds }) => ({
          sampling: { ...params, choice, position: 0 },
          ...{ numTokens: tokenIds.length, recent: tokenIds.slice(-1) },
        })),
      );
      const buffers = {
        lanes: gpu.pool.upload(words, "lanes"),
        drawn: gpu.pool.storage(4 * numLanes * topK * topK, "drawn"),
        logShares: gpu.pool.storage(4 * numLanes * topK * topK, "logShares"),
        // What an earlier step left there must not matter.
        pools: gpu.pool.upload(new Uint32Array((numLanes * draftPoolBytes(shape, topK)) / 4).fill(1), "pools"),
      };
      const grow = await draftGrow(gpu, shape, topK, buffers, batch);
      const finish = await draftTree(gpu, shape, topK, buffers);
      const builders = lanes.map(
        ({ tokenIds }) =>
          new DynamicTreeBuilder({ rootTokenId: tokenIds.at(-1) ?? 0, maxNodes: numNodes, maxDepth, topK }),
      );
      const draw = (rows: readonly (readonly Candidate[])[]) => {
        const padded = rows.flatMap((row) => Array.from({ length: topK }, (_, i) => row[i]));
        const tokens = Uint32Array.from(padded, (candidate) => candidate?.tokenId ?? NO_TOKEN);
        const shares = Float32Array.from(padded, (candidate) => candidate?.logSurvival ?? NaN);
        gpu.device.queue.writeBuffer(buffers.drawn, 0, tokens);
        gpu.device.queue.writeBuffer(buffers.logShares, 0, shares);
      };
      const first = lanes.map((_, i) => candidatesOf(round + i, [], topK));
      draw(first);
      for (const [i, builder] of builders.entries()) builder.expand([first[i] ?? []]);
      for (let level = 1; level < maxDepth; level++) {
        await submit(gpu, [(pass) => grow(pass, { numLanes, numNodes, level })]);
        const bytes = await gpu.pool.read(batch.buffer, 0, layout.numBytes);
        const rows = lanes.flatMap((lane, i) => {
          const builder = builders[i];
          const frontier = builder?.frontier() ?? [];
          const expanded = builder?.expanded() ?? [];
          const pathOf = (id: number): number[] => {
            const node = expanded[id];
            return node === undefined || node.parent < 0 ? [] : [...pathOf(node.parent), node.tokenId];
          };
          const slots = new Set<number>();
          return Array.from({ length: topK }, (_, rank) => {
            const got = seenRow(bytes, layout, i * topK + rank);
            const node = frontier[rank];
            const sample = seenSample(bytes, layout, i * topK + rank);
            expect(sample.row).toBe(i * topK + rank);
            if (node === undefined) {
              expect(got).toEqual(idleRow(lane));
              numIdle++;
              return [{ tokenId: 8, logSurvival: 0 }];
            }
            const root = lane.tokenIds.length - 1;
            const path = pathOf(node.id);
            expect(got).toMatchObject({ tokenId: node.tokenId, position: root + level });
            expect(got.keys).toHaveLength(root + level + 1);
            expect(got.keys.at(-1)).toBe(got.slot);
            expect(slots.has(got.slot)).toBe(false);
            slots.add(got.slot);
            expect(sample.parameters[3]).toBe(root + level + 1);
            return candidatesOf(round + i, path, topK);
          });
        });
        draw(rows);
        for (const [i, builder] of builders.entries()) {
          builder.expand(builder.frontier().map((_, rank) => rows[i * topK + rank] ?? []));
        }
      }
      await submit(gpu, [(pass) => finish(pass, { numLanes, numNodes, level: maxDepth })]);
      const bytes = await gpu.pool.read(buffers.lanes, 0, numLanes * laneBytes(shape));
      for (const [i, builder] of builders.entries()) {
        const { tree } = readLane(shape, bytes, i);
        const wanted = builder.build();
        expect(tree.tokenIds).toEqual(wanted.tokenIds);
        expect([-1, ...tree.parents.slice(1)]).toEqual(wanted.parents);
        expect(tree.depths).toEqual(wanted.depths);
        expect(tree.logSurvivals.map(Math.exp)).toEqual(wanted.probs);
      }
    }
    if (maxRecent > 2) expect(numIdle).toBeGreaterThan(0);
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
