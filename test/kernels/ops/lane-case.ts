import { expect } from "vitest";
import { BatchBuilder, type BatchLayout, batchLayout } from "../../../engine/runner/batch.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import { type GpuContext, readLane, SAMPLING_ROW_BYTES } from "../../../kernels/index.ts";
import type { LaneBatch } from "../../../kernels/ops/lane-steps.ts";
import { type LaneShape, laneLayout, packLanes } from "../../../kernels/ops/lanes.ts";
import { slotsOfRow } from "../../../kernels/reference/attention.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import type { Random } from "../../support/random.ts";

export const BLOCK_SIZE = 16;
export const TABLE_WORDS = 16;

/** A sequence as the host knows it. */
export interface HostLane {
  readonly tokenIds: readonly number[];
  readonly blockTable: readonly number[];
  readonly params: SamplingParams;
  readonly choice: number;
  /** Of the last tokens, how many a draft model has not seen. */
  readonly numRecent: number;
  /** True where it is left out. */
  readonly isDrafted?: boolean;
  readonly tree: DraftTree;
}

/** A tree of a few tokens: nodes have children that others have too. */
export function randomTree(random: Random, maxNodes: number, maxDepth: number): DraftTree {
  const wishes = Array.from({ length: random.int(0, 2 * maxNodes) }, () => {
    return [random.int(0, 50), random.int(0, 3)] as const;
  });
  const root = random.int(0, 3);
  for (let length = wishes.length; ; length--) {
    const tree = treeFrom(root, wishes.slice(0, length));
    if (tree.tokenIds.length <= maxNodes && Math.max(...tree.depths) <= maxDepth) return tree;
  }
}

/** Sequences of random lengths in blocks that lie in no order. @param shift tokens at the start that a drafter never sees */
export function randomLanes(
  random: Random,
  numLanes: number,
  trees: readonly DraftTree[],
  maxRecent: number,
  shift = 0,
  tableWords = TABLE_WORDS,
): HostLane[] {
  const blocks = random.shuffle(Array.from({ length: numLanes * tableWords }, (_, i) => i + 1));
  return Array.from({ length: numLanes }, (_, lane) => {
    const numTokens = random.int(1 + shift, 40);
    const tree = trees[lane] ?? { tokenIds: [0], parents: [-1], probs: [1], depths: [0] };
    const known = Array.from({ length: numTokens - 1 }, () => random.int(0, 99));
    const tokenIds = [...known, tree.tokenIds[0] ?? 0];
    const seed = [random.int(0, 1e9), random.int(0, 1e9)] as const;
    return {
      ...{ tokenIds, tree, choice: random.int(0, 3) },
      blockTable: blocks.slice(lane * tableWords, (lane + 1) * tableWords),
      params: { ...GREEDY, seed, temperature: random.int(0, 2) / 2, topP: 0.75, topK: lane, minP: 0.125 },
      numRecent: Math.min(numTokens - shift, random.int(1, maxRecent)),
    };
  });
}

/** Of a lane: its nodes that are verified, and the row of the first of them. */
export interface KeptRows {
  readonly numKept: number;
  readonly firstRow: number;
}

/** Of each lane some of its first nodes, in rows that follow each other with or without gaps; all nodes where `all` says so. */
export function randomRows(random: Random, trees: readonly DraftTree[], numNodes: number) {
  const [all, isDense] = [random.next() < 0.5, random.next() < 0.5];
  let nextRow = 0;
  const rows = trees.map(({ tokenIds: { length } }) => {
    const kept = { numKept: all ? length : random.int(1, length), firstRow: nextRow };
    nextRow += isDense ? kept.numKept : numNodes;
    return kept;
  });
  return { rows, numRows: nextRow + random.int(0, 3) };
}

/** Lanes with their trees, as a step finds them. `dead`: that lane's logits were no numbers. `rows`: by default lane by lane, all nodes. */
export function uploadLanes(
  gpu: GpuContext,
  shape: LaneShape,
  lanes: readonly HostLane[],
  dead = -1,
  rows?: readonly KeptRows[],
): GPUBuffer {
  const at = laneLayout(shape);
  const words = packLanes(
    shape,
    lanes.map(({ params, choice, tokenIds, numRecent, isDrafted = true }) => ({
      sampling: { ...params, choice, position: 0 },
      isDrafted,
      numTokens: tokenIds.length,
      recent: tokenIds.slice(-numRecent),
    })),
  );
  const floats = new Float32Array(words.buffer);
  let nextRow = 0;
  for (const [i, { tree }] of lanes.entries()) {
    const lane = words.subarray(i * at.numWords, (i + 1) * at.numWords);
    lane[at.numNodes] = tree.tokenIds.length;
    const { numKept, firstRow } = rows?.[i] ?? { numKept: tree.tokenIds.length, firstRow: nextRow };
    lane[at.numKept] = numKept;
    lane[at.firstRow] = firstRow;
    nextRow = firstRow + numKept;
    lane.set(tree.tokenIds, at.tree);
    lane.set([0, ...tree.parents.slice(1)], at.tree + shape.maxNodes);
    lane.set(tree.depths, at.tree + 2 * shape.maxNodes);
    floats.set(tree.probs.map(Math.log), i * at.numWords + at.tree + 3 * shape.maxNodes);
    if (i === dead) lane[at.alive] = 0;
  }
  return gpu.pool.upload(words, "lanes");
}

/** A batch buffer with the lanes' block tables in it, and poison everywhere else. */
export function uploadBatch(
  gpu: GpuContext,
  lanes: readonly HostLane[],
  numRows: number,
  maxPath: number,
): { readonly batch: LaneBatch; readonly layout: BatchLayout } {
  const paths = lanes.length * TABLE_WORDS;
  const layout = batchLayout(numRows, numRows, paths + numRows * maxPath);
  const words = new Uint32Array(layout.numBytes / 4).fill(0xdeadbeef);
  for (const [i, { blockTable }] of lanes.entries()) words.set(blockTable, layout.tables / 4 + i * TABLE_WORDS);
  const buffer = gpu.pool.upload(words, "batch");
  return { batch: { ...layout, buffer, tableWords: TABLE_WORDS, paths, maxPath, blockSize: BLOCK_SIZE }, layout };
}

/** The lanes' rows as the host writes them: what the tests compare with. */
export function hostBatch(lanes: readonly HostLane[], numKnown: (lane: HostLane) => number, shift = 0) {
  const layout = batchLayout(256, 256, 4096);
  const builder = new BatchBuilder(layout);
  for (const lane of lanes) {
    const { tokenIds, blockTable, params, choice, tree } = lane;
    const numTokens = numKnown(lane);
    const end = tokenIds.length - shift;
    builder.add({
      ...{ tokenIds, shift, startPosition: end - numTokens, numTokens, blockTable, rootPosition: end - 1 },
      ...{ sampling: { params, choice }, tree: { ...tree, firstNode: 1 } },
    });
  }
  const bytes = new ArrayBuffer(layout.numBytes);
  new Uint8Array(bytes).set(builder.bytes);
  return { bytes, layout };
}

/** What kernels see of one row, however its tables are laid out. */
export interface SeenRow {
  readonly tokenId: number;
  readonly slot: number;
  readonly position: number;
  /** Slots of all keys by position. */
  readonly keys: readonly number[];
}

export function seenRow(bytes: ArrayBuffer, layout: BatchLayout, row: number): SeenRow {
  const words = (at: number, count: number) => new Uint32Array(bytes, at, count);
  const [table = 0, position = 0, linearLen = 0, path = 0] = words(layout.rowInfo + 16 * row, 4);
  const tables = words(layout.tables, (bytes.byteLength - layout.tables) >> 2);
  return {
    tokenId: words(layout.tokenIds, row + 1)[row] ?? -1,
    slot: words(layout.slots, row + 1)[row] ?? -1,
    position,
    keys: slotsOfRow([table, position, linearLen, path], tables, BLOCK_SIZE),
  };
}

/** A sample: the row it belongs to, and the bits of its parameters. */
export function seenSample(bytes: ArrayBuffer, layout: BatchLayout, index: number) {
  return {
    row: new Uint32Array(bytes, layout.logitRows, index + 1)[index],
    parameters: [...new Uint32Array(bytes, layout.samplingRows + SAMPLING_ROW_BYTES * index, SAMPLING_ROW_BYTES / 4)],
  };
}

export function idleRow({ blockTable: [first = 0] }: HostLane): SeenRow {
  return { tokenId: 0, slot: 0, position: 0, keys: [first * BLOCK_SIZE] };
}

/** What nodes were chosen by is the sum of log-probabilities from the root, rounded at each of them. @param bytes of the lanes */
export function expectPathScores(shape: LaneShape, bytes: ArrayBuffer, lane: number): void {
  const { numWords, tree } = laneLayout(shape);
  const scores = new Float32Array(bytes, 4 * (lane * numWords + tree + 4 * shape.maxNodes), shape.maxNodes);
  const { parents, logSurvivals } = readLane(shape, bytes, lane).tree;
  expect(scores[0]).toBe(0);
  for (let node = 1; node < parents.length; node++) {
    expect(scores[node]).toBe(Math.fround((scores[parents[node] ?? 0] ?? NaN) + (logSurvivals[node] ?? NaN)));
  }
}
