import {
  type CommittedSequence,
  isPlain,
  numTreeSlots,
  type ScheduledSequence,
  type SchedulerOutput,
} from "../scheduler/output.ts";
import type { StepStats } from "./client.ts";
import type { PassTimes } from "./runner/model-runner.ts";
import type { ObservedStep } from "./speculative/budget/tree-policy.ts";
import type { VerifiedDraft } from "./speculative/budget/verified-draft.ts";
import { describe, type VerifiedSequence } from "./step.ts";

/** Moments of a step, in ms, and the times of its parts as far as they are known. */
export interface StepTimes {
  /** When it was planned or, where the step before it ended later, when that was. */
  readonly begunMs: number;
  readonly verifiedMs: number;
  readonly endMs: number;
  readonly draftMs: number;
  /** On the device. */
  readonly pass?: PassTimes;
}

/** How the engine and its policy are after the step. */
type StateAfter = Pick<StepStats, "numRunning" | "numWaiting" | "kvUsage"> & {
  readonly speculation: StepStats["speculation"];
};

/**
 * What listeners are told of a committed step. Here and wherever something is made for each step or sequence, fields come before
 * what is spread: V8 takes some 1.5 µs where a field that is new follows a spread.
 */
export function stepStats(
  output: SchedulerOutput,
  verified: readonly VerifiedSequence[],
  committed: readonly CommittedSequence[],
  { begunMs, verifiedMs, endMs, draftMs, pass }: StepTimes,
  { numRunning, numWaiting, kvUsage, speculation }: StateAfter,
): StepStats {
  const verifyMs = Math.max(0, verifiedMs - begunMs - draftMs);
  const numDraft = verified.reduce((sum, { tree }) => sum + tree.tokenIds.length - 1, 0);
  return {
    numRunning,
    numWaiting,
    kvUsage,
    draftMs,
    verifyMs,
    commitMs: endMs - verifiedMs,
    stepMs: endMs - begunMs,
    numPrefillTokens: output.sequences.reduce((sum, scheduled) => sum + numPromptRows(scheduled), 0),
    numPrefixQueryTokens: output.admitted.reduce((sum, { numPromptTokens }) => sum + numPromptTokens, 0),
    numPrefixHitTokens: output.admitted.reduce((sum, { numCachedTokens = 0 }) => sum + numCachedTokens, 0),
    numRows: output.numTokens + numDraft,
    numEmittedTokens: committed.reduce((sum, { emittedTokenIds }) => sum + emittedTokenIds.length, 0),
    numPreemptions: output.preemptedIds.length,
    sequences: verified.map(describe),
    ...(pass ? { pass: withOverhead(pass, verifyMs) } : {}),
    ...(speculation ? { speculation } : {}),
  };
}

/** What the policy is told of a committed step. */
export function observedStep(
  { sequences, limits, numTokens, preemptedIds }: SchedulerOutput,
  verified: readonly VerifiedSequence[],
  step: {
    readonly onDevice: boolean;
    /** Sequences that it had rows for, idle lanes included. */
    readonly numLanes: number;
    /** Its time is what such steps take: it is no first one of steps that overlap, and the drafter does nothing else in it. */
    readonly tells: boolean;
    /** The last one of a run on the device. */
    readonly isLast: boolean;
    readonly catchesUp: boolean;
    readonly draftMs: number;
    readonly stepMs: number;
  },
): ObservedStep {
  const { onDevice, numLanes, tells, isLast, catchesUp, draftMs, stepMs } = step;
  const drafts = isPlain(limits) ? [] : draftsOf(sequences, verified);
  // On the device all rows are there, whether trees fill them or not.
  const numRows = onDevice
    ? numLanes * (1 + (sequences[0]?.numLookaheadNodes ?? 0))
    : verified.reduce((sum, { tree }) => sum + tree.tokenIds.length - 1, numTokens);
  const hasPrompt = numTokens !== sequences.length || sequences.some((scheduled) => numPromptRows(scheduled) > 0);
  return {
    onDevice,
    limits,
    draftMs,
    stepMs,
    isLast,
    catchesUp,
    drafts,
    hasPrompt,
    numSequences: verified.length,
    numLanes,
    numRows,
    context: meanContext(sequences.map(({ rootPosition }) => rootPosition + 1)),
    numEmitted: verified.reduce((sum, { result }) => sum + result.tokenIds.length, 0),
    isSteady: tells && preemptedIds.length === 0 && !hasPrompt,
  };
}

/** @param numTokens of each sequence */
export function meanContext(numTokens: readonly number[]): number {
  return numTokens.reduce((sum, count) => sum + count, 0) / Math.max(1, numTokens.length);
}

function draftsOf(sequences: readonly ScheduledSequence[], verified: readonly VerifiedSequence[]): VerifiedDraft[] {
  const bounds = new Map<string, ScheduledSequence>();
  for (const scheduled of sequences) bounds.set(scheduled.sequence.id, scheduled);
  const drafts: VerifiedDraft[] = [];
  for (const one of verified) {
    const bound = bounds.get(one.result.id);
    if (bound !== undefined && bound.numLookaheadNodes > 0) drafts.push(draftOf(one, bound));
  }
  return drafts;
}

/** Trees of the device are read when they are looked at. */
function draftOf(verified: VerifiedSequence, bound: ScheduledSequence): VerifiedDraft {
  return {
    get tree() {
      return verified.drafted;
    },
    get kept() {
      return verified.kept;
    },
    tokenIds: verified.result.tokenIds,
    maxNodes: 1 + numTreeSlots(bound),
    maxDepth: bound.maxDraftDepth,
  };
}

function withOverhead({ forwardMs, sampleMs }: PassTimes, verifyMs: number) {
  return { forwardMs, sampleMs, overheadMs: Math.max(0, verifyMs - forwardMs - sampleMs) };
}

function numPromptRows({ sequence, startPosition, numTokens }: ScheduledSequence): number {
  return Math.max(0, Math.min(startPosition + numTokens, sequence.numPromptTokens) - startPosition);
}
