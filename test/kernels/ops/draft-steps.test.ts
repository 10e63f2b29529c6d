import { describe, expect, it } from "vitest";
import { slotAt } from "../../../engine/runner/batch.ts";
import { type CapeStep, capeWidths, widenByConfidence } from "../../../engine/speculative/glide/cape.ts";
import { type Candidate, DynamicTreeBuilder } from "../../../engine/speculative/tree-builder.ts";
import {
  regularShape,
  StaticTreeBuilder,
  shapeChildren,
  type TreeShape,
} from "../../../engine/speculative/tree-shape.ts";
import {
  type DraftRules,
  draftCatchUp,
  draftGrow,
  draftPoolBytes,
  draftTree,
  type GpuContext,
  NO_TOKEN,
  readLane,
} from "../../../kernels/index.ts";
import { laneBytes, packLanes } from "../../../kernels/ops/lanes.ts";
import { FAMILIES, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { type ExpectedRead, Target } from "./draft-reads-case.ts";
import {
  expectPathScores,
  type HostLane,
  hostBatch,
  idleRow,
  randomLanes,
  seenRow,
  seenSample,
  uploadBatch,
  uploadLanes,
} from "./lane-case.ts";

const test = useGpu();
const context = () => test.context(FAMILIES[0]);

/** Nodes with children beside nodes without, at several depths. */
const UNEVEN: TreeShape = {
  parents: [-1, 0, 0, 0, 1, 1, 3, 4, 4, 6, 8, 10],
  ranks: [0, 0, 1, 2, 0, 1, 0, 0, 1, 0, 0, 0],
  depths: [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5],
};

const CAPE: readonly CapeStep[] = [
  { upTo: 0.3, numCandidates: 4 },
  { upTo: 0.7, numCandidates: 3 },
  { upTo: 0.9, numCandidates: 1 },
];

/** A drafter's candidates after a path: as many as topK or fewer, with equal scores among them. */
function candidatesOf(seed: number, path: readonly number[], topK: number): Candidate[] {
  const random = new Random(path.reduce((hash, token) => Math.imul(hash ^ token, 0x01000193), seed));
  const tokens = random.shuffle([1, 2, 3, 4, 5, 6, 7, 8]).slice(0, random.next() < 0.2 ? random.int(0, topK) : topK);
  return tokens.map((tokenId) => ({
    tokenId,
    logSurvival: Math.fround(random.next() < 0.5 ? -random.int(0, 4) / 2 : -3 * random.next()),
  }));
}

describe.each([
  { kind: "text", shift: 0 },
  { kind: "features", shift: 1 },
  { kind: "keys", shift: 0 },
] as const)("draft_catch_up, reading $kind", ({ kind, shift }) => {
  it("computes the tokens that the drafter lacks, and samples after the last", async () => {
    const gpu = context();
    const random = new Random(3);
    const shape = { maxNodes: 8, maxRecent: 5 };
    for (let round = 0; round < 8; round++) {
      const numLanes = random.int(1, 6);
      const lanes = randomLanes(random, numLanes, [], shape.maxRecent, kind === "text" ? 0 : 1);
      const [dead, undrafted] = [random.int(0, 2 * numLanes), random.int(0, 2 * numLanes)];
      const idles = (lane: number) => lane === dead || lane === undrafted;
      const mostRecent = Math.max(...lanes.map(({ numRecent }) => numRecent));
      const rowsPerLane = random.int(mostRecent, shape.maxRecent);
      const numRows = numLanes * rowsPerLane;
      const { batch, layout } = uploadBatch(gpu, lanes, numRows, 3);
      const target = new Target(gpu, kind, random, numLanes, numRows);
      const given = lanes.map((lane, i) => ({ ...lane, isDrafted: i !== undrafted }));
      const buffer = uploadLanes(gpu, shape, given, dead);
      const op = await draftCatchUp(gpu, shape, { reads: target.reads, shift }, buffer, batch);
      await submit(gpu, [(pass) => op(pass, { numLanes, numNodes: rowsPerLane })]);
      const bytes = await gpu.pool.read(batch.buffer, 0, layout.numBytes);
      const host = hostBatch(lanes, ({ numRecent }) => numRecent, shift);
      const reads: ExpectedRead[] = [];
      let at = 0;
      for (const [i, lane] of lanes.entries()) {
        const numTokens = lane.tokenIds.length;
        for (let j = 0; j < rowsPerLane; j++) {
          const isThere = j < lane.numRecent;
          const got = seenRow(bytes, layout, i * rowsPerLane + j);
          expect(got).toEqual(isThere && !idles(i) ? seenRow(host.bytes, host.layout, at) : idleRow(lane));
          const position = numTokens - shift - lane.numRecent + j;
          reads.push(isThere && !idles(i) ? { lane: i, numTokens, position } : { lane: i });
          if (isThere) at++;
        }
        const sample = seenSample(bytes, layout, i);
        expect(sample.parameters).toEqual(seenSample(host.bytes, host.layout, i).parameters);
        expect(sample.row).toBe(i * rowsPerLane + (idles(i) ? 0 : lane.numRecent - 1));
      }
      await target.expect(reads);
    }
  });
});

describe("draft_grow and draft_tree", () => {
  it.each([
    { kind: "text", shift: 0, topK: 3, numExpanded: 3, maxNodes: 8, maxRecent: 7 },
    { kind: "text", shift: 0, topK: 1, numExpanded: 1, maxNodes: 5, maxRecent: 5 },
    { kind: "text", shift: 0, topK: 4, numExpanded: 4, maxNodes: 16, maxRecent: 4 },
    { kind: "text", shift: 0, topK: 2, numExpanded: 2, maxNodes: 2, maxRecent: 2 },
    { kind: "text", shift: 0, topK: 5, numExpanded: 2, maxNodes: 16, maxRecent: 5 },
    { kind: "features", shift: 1, topK: 3, numExpanded: 3, maxNodes: 8, maxRecent: 5 },
    { kind: "keys", shift: 0, topK: 4, numExpanded: 2, maxNodes: 10, maxRecent: 5, cape: CAPE },
    { kind: "keys", shift: 0, topK: 4, numExpanded: 3, maxNodes: 16, maxRecent: 4, cape: CAPE.slice(1, 2) },
    { kind: "text", shift: 0, topK: 3, numExpanded: 6, maxNodes: 16, maxRecent: 4, tree: regularShape([3, 2, 1]) },
    { kind: "features", shift: 1, topK: 3, numExpanded: 4, maxNodes: 12, maxRecent: 6, tree: UNEVEN },
    { kind: "keys", shift: 0, topK: 4, numExpanded: 1, maxNodes: 5, maxRecent: 5, tree: regularShape([1, 1, 1, 1]) },
    { kind: "text", shift: 0, topK: 8, numExpanded: 8, maxNodes: 300, maxRecent: 8 },
    { kind: "text", shift: 0, topK: 2, numExpanded: 2, maxNodes: 70, maxRecent: 65 },
    { kind: "features", shift: 1, topK: 6, numExpanded: 64, maxNodes: 1024, maxRecent: 5 },
    { kind: "text", shift: 0, topK: 8, numExpanded: 64, maxNodes: 585, maxRecent: 4, tree: regularShape([8, 8, 8]) },
  ] as const)(
    "$kind, top $topK, $numExpanded a level, $maxNodes nodes: the host's frontiers and the host's trees",
    async ({ kind, shift, topK, numExpanded, maxNodes, maxRecent, ...rest }) => {
      const cape = "cape" in rest ? rest.cape : undefined;
      const tree = "tree" in rest ? rest.tree : undefined;
      const gpu = context();
      const shape = { maxNodes, maxRecent };
      const random = new Random(topK);
      const narrow = (row: readonly Candidate[]) => (cape ? widenByConfidence(row, cape) : row);
      let [numIdle, numNarrowed] = [0, 0];
      for (let round = 0; round < 7; round++) {
        const numLanes = random.int(1, 4);
        // The smallest tree at first: most rows idle.
        const numNodes = round === 0 ? 2 : random.int(2, maxNodes);
        const maxDepth = round === 0 ? maxRecent - 1 : random.int(1, maxRecent - 1);
        const undrafted = random.int(0, 3 * numLanes);
        const lanes = randomLanes(random, numLanes, [], maxRecent, kind === "text" ? 0 : 1).map((lane, i) => ({
          ...{ ...lane, isDrafted: i !== undrafted },
        }));
        const { batch, layout } = uploadBatch(gpu, lanes, numLanes * numExpanded, maxRecent - 1);
        const target = new Target(gpu, kind, random, numLanes, numLanes * numExpanded);
        const widths = cape && { buffer: gpu.pool.upload(capeWidths(cape), "cape"), count: cape.length };
        const children = tree && { shapeChildren: gpu.pool.upload(shapeChildren(tree, maxNodes, topK), "shape") };
        const rules: DraftRules = {
          ...{ topK, numExpanded, shift, reads: target.reads, ...children },
          ...(widths ? { widths } : {}),
        };
        const buffers = uploadDraft(gpu, lanes, shape, rules);
        const grow = await draftGrow(gpu, shape, rules, buffers, batch);
        const finish = await draftTree(gpu, shape, rules, buffers);
        const builders = lanes.map(({ tokenIds, isDrafted }) => {
          const limits = { rootTokenId: tokenIds.at(-1) ?? 0, maxNodes: isDrafted ? numNodes : 1, maxDepth };
          return tree ? new StaticTreeBuilder(tree, limits) : new DynamicTreeBuilder({ ...limits, topK, numExpanded });
        });
        const draw = (rows: readonly (readonly Candidate[])[]) => {
          const padded = rows.flatMap((row) => Array.from({ length: topK }, (_, i) => row[i]));
          const tokens = Uint32Array.from(padded, (candidate) => candidate?.tokenId ?? NO_TOKEN);
          const shares = Float32Array.from(padded, (candidate) => candidate?.logSurvival ?? NaN);
          gpu.device.queue.writeBuffer(buffers.drawn, 0, tokens);
          gpu.device.queue.writeBuffer(buffers.logShares, 0, shares);
          for (const row of rows) numNarrowed += row.length - narrow(row).length;
        };
        const first = lanes.map((_, i) => candidatesOf(round + i, [], topK));
        draw(first);
        for (const [i, builder] of builders.entries()) {
          if (!builder.done) builder.expand([narrow(first[i] ?? [])]);
        }
        const rootOf = ({ tokenIds }: HostLane) => tokenIds.length - shift - 1;
        /** Of each lane, slots by the path that ends there. */
        const slots = lanes.map((lane) => new Map([["", slotAt(lane.blockTable, rootOf(lane))]]));
        for (let level = 1; level < maxDepth; level++) {
          await submit(gpu, [(pass) => grow(pass, { numLanes, numNodes, level, numExpanded: rules.numExpanded })]);
          const bytes = await gpu.pool.read(batch.buffer, 0, layout.numBytes);
          const reads: ExpectedRead[] = [];
          const rows = lanes.flatMap((lane, i) => {
            const builder = builders[i];
            const frontier = builder?.frontier() ?? [];
            const expanded = builder?.expanded() ?? [];
            const pathOf = (id: number): number[] => {
              const node = expanded[id];
              return node === undefined || node.parent < 0 ? [] : [...pathOf(node.parent), node.tokenId];
            };
            return Array.from({ length: numExpanded }, (_, rank) => {
              const got = seenRow(bytes, layout, i * numExpanded + rank);
              const node = frontier[rank];
              const sample = seenSample(bytes, layout, i * numExpanded + rank);
              expect(sample.row).toBe(i * numExpanded + rank);
              if (node === undefined) {
                expect(got).toEqual(idleRow(lane));
                reads.push({ lane: i });
                numIdle++;
                return [{ tokenId: 8, logSurvival: 0 }];
              }
              const root = rootOf(lane);
              const path = pathOf(node.id);
              expect(got).toMatchObject({ tokenId: node.tokenId, position: root + level });
              expect(got.keys).toHaveLength(root + level + 1);
              expect(got.keys.at(-1)).toBe(got.slot);
              expect([...(slots[i]?.values() ?? [])]).not.toContain(got.slot);
              slots[i]?.set(String(path), got.slot);
              expect(sample.parameters[3]).toBe(lane.tokenIds.length + level);
              const parentSlot = slots[i]?.get(String(path.slice(0, -1))) ?? NaN;
              reads.push({ lane: i, numTokens: lane.tokenIds.length, parentSlot });
              return candidatesOf(round + i, path, topK);
            });
          });
          await target.expect(reads);
          draw(rows);
          for (const [i, builder] of builders.entries()) {
            builder.expand(builder.frontier().map((_, rank) => narrow(rows[i * numExpanded + rank] ?? [])));
          }
        }
        await submit(gpu, [
          (pass) => finish(pass, { numLanes, numNodes, level: maxDepth, numExpanded: rules.numExpanded }),
        ]);
        const bytes = await gpu.pool.read(buffers.lanes, 0, numLanes * laneBytes(shape));
        for (const [i, builder] of builders.entries()) {
          const { tree: got } = readLane(shape, bytes, i);
          const wanted = builder.build();
          expect(got.tokenIds).toEqual(wanted.tokenIds);
          expect([-1, ...got.parents.slice(1)]).toEqual(wanted.parents);
          expect(got.depths).toEqual(wanted.depths);
          expect(got.logSurvivals.map(Math.exp)).toEqual(wanted.probs);
          if (tree === undefined) expectPathScores(shape, bytes, i);
        }
      }
      if (maxRecent > 2) expect(numIdle).toBeGreaterThan(0);
      if (cape) expect(numNarrowed).toBeGreaterThan(0);
    },
  );
});

function uploadDraft(
  gpu: GpuContext,
  lanes: readonly HostLane[],
  shape: { readonly maxNodes: number; readonly maxRecent: number },
  rules: DraftRules,
) {
  const words = packLanes(
    shape,
    lanes.map(({ params, choice, tokenIds, isDrafted = true }) => ({
      sampling: { ...params, choice, position: 0 },
      ...{ isDrafted, numTokens: tokenIds.length, recent: tokenIds.slice(-1) },
    })),
  );
  const numDraws = lanes.length * rules.topK * rules.numExpanded;
  return {
    lanes: gpu.pool.upload(words, "lanes"),
    drawn: gpu.pool.storage(4 * numDraws, "drawn"),
    logShares: gpu.pool.storage(4 * numDraws, "logShares"),
    // What an earlier step left there must not matter.
    pools: gpu.pool.upload(new Uint32Array((lanes.length * draftPoolBytes(shape, rules)) / 4).fill(1), "pools"),
  };
}
