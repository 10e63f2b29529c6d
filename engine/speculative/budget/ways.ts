import type { TreeLimits } from "../../../scheduler/output.ts";
import type { Forecast } from "./size-choice.ts";

/** A way to decode, and what is thought of it. */
export interface Way {
  /** No nodes: plain decoding. */
  readonly limits: TreeLimits;
  /** What a token of the batch takes, and a step. */
  readonly tokenMs: number;
  readonly stepMs: number;
}

/** So much better another way must be to be worth the change, and what the change costs must come in within this time. */
const BETTER = 1.01;
const HOLD_MS = 2000;

/** @param turnoverMs that a token takes more, as sequences end and others come now and then */
export function wayOf({ limits, rate, stepMs }: Forecast, turnoverMs: number): Way {
  return { limits, tokenMs: 1 / rate + turnoverMs, stepMs };
}

/** The one before, where it is about as good. @param ways at least one @param changeMs what a change costs, once */
export function fastestWay(
  ways: readonly Way[],
  before: Way | undefined,
  changeMs: (from: Way, to: Way) => number,
): Way {
  const best = ways.reduce((least, way) => (way.tokenMs < least.tokenMs ? way : least));
  if (before === undefined || before === best) return best;
  return before.tokenMs < (BETTER + changeMs(before, best) / HOLD_MS) * best.tokenMs ? before : best;
}
