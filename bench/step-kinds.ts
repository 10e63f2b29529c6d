import type { StepStats } from "../engine/client.ts";
import { sum } from "./generate.ts";

/** What a step did: compute prompts, whatever else it did; verify drafts; or neither. */
export const STEP_KINDS = ["prompt", "draft", "plain"] as const;
export type StepKind = (typeof STEP_KINDS)[number];

/** Sums over steps of one kind. */
export interface StepTotals {
  numSteps: number;
  ms: number;
  numTokens: number;
}

export type TotalsByKind = Record<StepKind, StepTotals>;

type CountedStep = Pick<StepStats, "numPrefillTokens" | "sequences" | "stepMs" | "numEmittedTokens">;

export function kindOf({ numPrefillTokens, sequences }: CountedStep): StepKind {
  if (numPrefillTokens > 0) return "prompt";
  return sequences.some(({ numDraft }) => numDraft > 0) ? "draft" : "plain";
}

export function noSteps(): TotalsByKind {
  const none = () => ({ numSteps: 0, ms: 0, numTokens: 0 });
  return { prompt: none(), draft: none(), plain: none() };
}

/** Adds a step in place: it runs between the very steps that are measured. */
export function countStep(totals: TotalsByKind, step: CountedStep): void {
  const ofKind = totals[kindOf(step)];
  ofKind.numSteps++;
  ofKind.ms += step.stepMs;
  ofKind.numTokens += step.numEmittedTokens;
}

export function totalsOf(turns: readonly TotalsByKind[]): TotalsByKind {
  const of = (kind: StepKind) => ({
    numSteps: sum(turns, (turn) => turn[kind].numSteps),
    ms: sum(turns, (turn) => turn[kind].ms),
    numTokens: sum(turns, (turn) => turn[kind].numTokens),
  });
  return { prompt: of("prompt"), draft: of("draft"), plain: of("plain") };
}
