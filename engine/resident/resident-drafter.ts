import type { Binding, LaneShape } from "../../kernels/index.ts";
import type { SamplingWants } from "../runner/request-sampling.ts";
import type { TreeShape } from "../speculative/tree-shape.ts";

/** What a step needs to know to be encoded. */
export interface StepSize {
  readonly numLanes: number;
  /** Known tokens of a lane that the drafter takes in first, at most. */
  readonly numRecent: number;
  /** Nodes of a tree at most, root included. */
  readonly numNodes: number;
  /** Of the verify pass: numLanes · numNodes, or fewer, which then go to the best nodes of all trees. */
  readonly numRows: number;
  /** Depth of the deepest node. */
  readonly depth: number;
  /** Highest position that any row may have, or more. */
  readonly maxPosition: number;
}

/** The lanes that a drafter drafts for. */
export interface DraftedLanes {
  readonly maxLanes: number;
  readonly shape: LaneShape;
  /** Lane [maxLanes] (wgsl/lanes.wgsl) */
  readonly buffer: GPUBuffer;
  /** Block tables of the target's cache: lane l's begins l · tableWords words into them. */
  readonly tables: Binding;
  readonly tableWords: number;
  /** Trees have shapes that `shapeTrees` gives, in place of dynamic trees. */
  readonly isShaped: boolean;
}

/** A sequence that gets a lane. */
export interface DraftedSequence {
  readonly id: string;
  /** Of the target's cache; a live view. */
  readonly blockTable: readonly number[];
}

/**
 * What encodes the drafts of steps that run on the device: from the state in which the last step left the lanes, and from what the
 * target has computed, to a tree for every lane. It gives the trees that the proposer gives to the host.
 */
export interface ResidentDrafter {
  /** All trees of the steps to come have this shape. To be called ahead of each run, where lanes are made for shapes. */
  shapeTrees(shape: TreeShape): void;
  /**
   * How many of a sequence's last tokens the next step takes in, where the target has computed all but the root; undefined where
   * nothing can be drafted.
   */
  numRecent(id: string, numTokens: number): number | undefined;
  /** Whether it has room for a sequence for which nothing is drafted: for its text, and for what the deepest trees need. */
  hasRoom(id: string, numTokens: number): boolean;
  /** Reserves what drafting writes after `numTokens` known tokens. False where blocks are lacking. */
  reserve(id: string, numTokens: number, depth: number): boolean;
  /** The sequences of the steps to come, a lane each. */
  start(sequences: readonly DraftedSequence[]): void;
  /** A step is about to be submitted: what it writes for sequences that end meanwhile is kept until it has ended (`release`). */
  hold(): void;
  release(): void;
  /** Whether it can draft for requests that want this of their draws; if not, the host's drafting sees to it. */
  isReady(wants: SamplingWants): boolean;
  /** To be called before each submit. */
  sendTables(): void;
  /** @param wants whose tokens are counted */
  encode(pass: GPUComputePassEncoder, size: StepSize, wants: SamplingWants): void;
  /** A step that succeeded has taken in the first `numTokens` tokens of lane `lane`. */
  commit(lane: number, numTokens: number): void;
  /** No step is in flight: what was reserved ahead goes back. */
  end(): void;
}
