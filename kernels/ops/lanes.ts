import { SAMPLING_ROW_BYTES, type SamplingRow, writeSamplingRow } from "./sampling.ts";

/** Bounds of a lane's arrays (wgsl/lanes.wgsl). */
export interface LaneShape {
  /** Nodes of a draft tree, root included. */
  readonly maxNodes: number;
  /** Tokens that a step can emit: one more than the deepest node's depth. */
  readonly maxRecent: number;
}

/** A lane as the host sets it up: no tree yet but its root. */
export interface LaneStart {
  /** How its tokens are drawn, and by which processor; `position` is not used. */
  readonly sampling: SamplingRow;
  /** False: its trees are their roots. */
  readonly isDrafted: boolean;
  /** Known tokens, the root included. */
  readonly numTokens: number;
  /** The last known tokens, 1 … maxRecent: those whose K/V a drafter lacks, the root at the end. */
  readonly recent: readonly number[];
}

/** A lane's tree, node 0 its root; parents come before children, and best ones first. */
export interface LaneTree {
  readonly tokenIds: readonly number[];
  /** Parent's node; 0 for the root itself. */
  readonly parents: readonly number[];
  readonly depths: readonly number[];
  /** Drafter's log-probability of each node, given its parent. */
  readonly logSurvivals: readonly number[];
  /** Where several drafters propose into one tree, a bit for each that proposed the node; anything elsewhere, and for the root. */
  readonly proposers: readonly number[];
}

/** A lane as a step leaves it. */
export interface LaneResult {
  /** False once a draw found no number to choose from, or where the lane idles. */
  readonly alive: boolean;
  readonly numTokens: number;
  /** Tokens that the step emitted: accepted ones, then the bonus token. */
  readonly emitted: readonly number[];
  /** The nodes that were verified, the first ones of the tree; that of the first of them is row `firstRow` of the verify pass. */
  readonly tree: LaneTree;
  readonly firstRow: number;
  /** Nodes that were drafted, and the tree of all of them: read when it is asked for, since few are looked at. */
  readonly numDrafted: number;
  readonly drafted: () => LaneTree;
}

/** Where a lane's fields lie, in words. */
export function laneLayout({ maxNodes, maxRecent }: LaneShape) {
  const alive = SAMPLING_ROW_BYTES / 4;
  const numNodes = alive + 4 + maxRecent;
  const tree = numNodes + 3;
  const end = tree + 6 * maxNodes;
  return {
    alive,
    isDrafted: alive + 1,
    numTokens: alive + 2,
    numRecent: alive + 3,
    recent: alive + 4,
    numNodes,
    numKept: numNodes + 1,
    firstRow: numNodes + 2,
    tree,
    // The struct's alignment is that of its vec2u.
    numWords: 2 * Math.ceil(end / 2),
  };
}

export function laneBytes(shape: LaneShape): number {
  return 4 * laneLayout(shape).numWords;
}

/** Where a lane says that it is alive, in bytes: a u32, 0 for one that idles. */
export function aliveOffset(shape: LaneShape): number {
  return 4 * laneLayout(shape).alive;
}

/** Lanes as the kernels read them, `laneBytes` each. */
export function packLanes(shape: LaneShape, lanes: readonly LaneStart[]): Uint32Array<ArrayBuffer> {
  const at = laneLayout(shape);
  const words = new Uint32Array(lanes.length * at.numWords);
  for (const [i, { sampling, isDrafted, numTokens, recent }] of lanes.entries()) {
    if (recent.length < 1 || recent.length > shape.maxRecent) {
      throw new RangeError(`lane ${i} has ${recent.length} recent tokens, 1 to ${shape.maxRecent} can be`);
    }
    const lane = words.subarray(i * at.numWords, (i + 1) * at.numWords);
    writeSamplingRow(new DataView(lane.buffer, lane.byteOffset), 0, sampling);
    lane[at.alive] = 1;
    lane[at.isDrafted] = isDrafted ? 1 : 0;
    lane[at.numTokens] = numTokens;
    lane[at.numRecent] = recent.length;
    lane.set(recent, at.recent);
    lane[at.numNodes] = 1;
    lane[at.numKept] = 1;
    lane[at.firstRow] = i;
    lane[at.tree] = recent.at(-1) ?? 0;
  }
  return words;
}

/** Lane `index` of what a step left behind. Every step reads all lanes: plain loops, of which a spread would take ten times the time. */
export function readLane(shape: LaneShape, bytes: ArrayBuffer, index: number): LaneResult {
  const at = laneLayout(shape);
  const start = index * at.numWords;
  const words = new Uint32Array(bytes, 4 * start, at.numWords);
  const floats = new Float32Array(bytes, 4 * start, at.numWords);
  const array = (place: number) => at.tree + place * shape.maxNodes;
  const treeOf = (numNodes: number): LaneTree => ({
    tokenIds: toArray(words, array(0), numNodes),
    parents: toArray(words, array(1), numNodes),
    depths: toArray(words, array(2), numNodes),
    logSurvivals: toArray(floats, array(3), numNodes),
    proposers: toArray(words, array(5), numNodes),
  });
  const numDrafted = words[at.numNodes] ?? 0;
  return {
    alive: words[at.alive] !== 0,
    numTokens: words[at.numTokens] ?? 0,
    emitted: toArray(words, at.recent, words[at.numRecent] ?? 0),
    tree: treeOf(words[at.numKept] ?? 0),
    firstRow: words[at.firstRow] ?? 0,
    numDrafted,
    drafted: () => treeOf(numDrafted),
  };
}

function toArray(values: Uint32Array | Float32Array, first: number, count: number): number[] {
  const result: number[] = [];
  for (let i = first; i < first + count; i++) result.push(values[i] ?? 0);
  return result;
}
