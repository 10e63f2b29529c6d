import type { StepStats } from "../engine/client.ts";

/** What a step did: compute prompts, whatever else it did; verify drafts; or neither. */
export const STEP_KINDS = ["prompt", "draft", "plain"] as const;
export type StepKind = (typeof STEP_KINDS)[number];

/** Sums over steps of one kind. */
export interface StepTotals {
  readonly numSteps: number;
  readonly ms: number;
  readonly numTokens: number;
}

export type TotalsByKind = Readonly<Record<StepKind, StepTotals>>;

const NONE: StepTotals = { numSteps: 0, ms: 0, numTokens: 0 };
export const NO_STEPS: TotalsByKind = { prompt: NONE, draft: NONE, plain: NONE };

export function kindOf({ numPrefillTokens, sequences }: Pick<StepStats, "numPrefillTokens" | "sequences">): StepKind {
  if (numPrefillTokens > 0) return "prompt";
  return sequences.some(({ numDraft }) => numDraft > 0) ? "draft" : "plain";
}

export function addStep(totals: TotalsByKind, step: StepStats): TotalsByKind {
  const one = { numSteps: 1, ms: step.stepMs, numTokens: step.numEmittedTokens };
  return { ...totals, [kindOf(step)]: plus(totals[kindOf(step)], one) };
}

export function addTotals(one: TotalsByKind, other: TotalsByKind): TotalsByKind {
  const of = (kind: StepKind) => plus(one[kind], other[kind]);
  return { prompt: of("prompt"), draft: of("draft"), plain: of("plain") };
}

function plus(one: StepTotals, other: StepTotals): StepTotals {
  return {
    numSteps: one.numSteps + other.numSteps,
    ms: one.ms + other.ms,
    numTokens: one.numTokens + other.numTokens,
  };
}
