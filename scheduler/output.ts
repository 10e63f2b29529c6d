import type { SlotMove } from "../kvcache/ids.ts";
import type { Sequence } from "./sequence.ts";

/** Bounds of every tree of a step. */
export interface TreeLimits {
  /** Nodes below the root: rows that the step has for each tree. */
  readonly numLookaheadNodes: number;
  readonly maxDraftDepth: number;
  /** The trees share their rows: one may have more nodes below its root than others, but so many at most. Absent: each has its own. */
  readonly mostLookaheadNodes?: number;
}

/** Draft nodes of one tree for which there have to be slots. */
export function numTreeSlots({ numLookaheadNodes, mostLookaheadNodes = numLookaheadNodes }: TreeLimits): number {
  return mostLookaheadNodes;
}

/** Plain decoding. */
export const NO_TREES: TreeLimits = { numLookaheadNodes: 0, maxDraftDepth: 0 };

export function isPlain({ numLookaheadNodes }: TreeLimits): boolean {
  return numLookaheadNodes === 0;
}

export interface ChosenLimits extends TreeLimits {
  /**
   * All trees are to have one size, this one or what there are rows for, where slots suffice: those of sequences that are about to end too. What
   * is accepted past an end is discarded.
   */
  readonly uniform?: boolean;
}

/**
 * Chooses them for a step in which these sequences sample.
 * @param isDecode every sequence of the step computes its last known token and no other
 */
export type ChooseLimits = (sampling: readonly Sequence[], isDecode: boolean) => ChosenLimits;

/**
 * One sequence's part of a step. Rows: the known tokens at positions `startPosition … startPosition + numTokens − 1`,
 * each in the slot of the same index; then, where `needsSample`, up to `numLookaheadNodes` draft nodes below the root,
 * the last of those tokens. Draft node i ≥ 1 goes to slot `rootPosition + i`, at position `rootPosition + depth`.
 */
export interface ScheduledSequence {
  readonly sequence: Sequence;
  /** = numComputedTokens. In a step that is planned ahead, the lowest that it can be; so is rootPosition. */
  readonly startPosition: number;
  /** Known tokens to compute, at least 1. */
  readonly numTokens: number;
  /** startPosition + numTokens − 1: of the last known token of this step, the root of the draft tree. */
  readonly rootPosition: number;
  /** The chunk reaches the last known token, so that its successor is sampled. False only for earlier prefill chunks. */
  readonly needsSample: boolean;
  /** Draft nodes that the step may have for this sequence, root excluded: rows and slots are reserved. */
  readonly numLookaheadNodes: number;
  /** Where the sequences share their rows: slots are reserved for so many. */
  readonly mostLookaheadNodes?: number;
  /**
   * Deepest that such a node may be (the root is at 0), no more than there may be nodes: a run accepted down to it, and the
   * bonus token after that, still fit in what the sequence may generate or, where all trees are to have one size, in what
   * model and cache hold.
   */
  readonly maxDraftDepth: number;
}

/** Of those chosen for a step, what all sequences of its plan may have. */
export function commonLimits(plan: readonly ScheduledSequence[], { maxDraftDepth }: TreeLimits): TreeLimits {
  const numLookaheadNodes = Math.min(...plan.map((scheduled) => scheduled.numLookaheadNodes));
  const mostLookaheadNodes = Math.min(...plan.map(numTreeSlots));
  const limits = { numLookaheadNodes, maxDraftDepth: Math.min(maxDraftDepth, mostLookaheadNodes) };
  return mostLookaheadNodes > numLookaheadNodes ? { ...limits, mostLookaheadNodes } : limits;
}

/** A step's plan: immutable, to be given back to `commit`, in the order of planning, or to `discard`. */
export interface SchedulerOutput {
  readonly stepId: number;
  /** In order of joining the batch. Empty when there is nothing to do. */
  readonly sequences: readonly ScheduledSequence[];
  /** Known tokens in all: the rows of the step before draft nodes. */
  readonly numTokens: number;
  /** As chosen for the step: a sequence may have less. */
  readonly limits: TreeLimits;
  /** Draft nodes that may be added in all; numTokens + numLookaheadNodes ≤ the token budget. */
  readonly numLookaheadNodes: number;
  /** Sequences that came into the batch for the first time; numCachedTokens says what of them was computed before. */
  readonly admitted: readonly Sequence[];
  /** Sequences that lost their blocks while this step was planned; they are computed again, but for what the prefix cache keeps of them. */
  readonly preemptedIds: readonly string[];
  /** The next newcomer has a place and no blocks, and no one is computing what it begins with: it waits until someone ends. */
  readonly lacksBlocks: boolean;
  /**
   * Copies of final K/V, for sequences that begin as others do. To be made as soon as the step is planned, in this order and ahead
   * of everything else that it does; they stand also where it is discarded.
   */
  readonly copies: readonly SlotMove[];
}

/** What verification found for a scheduled sequence with `needsSample`. */
export interface StepResult {
  readonly id: string;
  /** Accepted draft tokens in order, then the bonus token: `numAccepted + 1` tokens. */
  readonly tokenIds: readonly number[];
  readonly numAccepted: number;
}

/** What a step emitted for one sequence. */
export interface CommittedSequence {
  readonly id: string;
  /** At least one token; none after the one that ended the sequence. */
  readonly emittedTokenIds: readonly number[];
  /** The first `numAccepted` of the emitted tokens were drafted. */
  readonly numAccepted: number;
  readonly finishReason?: "stop" | "length";
}

/** In the plan's order; without sequences that sampled nothing, and without those aborted meanwhile. */
export interface CommitResult {
  readonly sequences: readonly CommittedSequence[];
}
