import { isPlain } from "../../../scheduler/output.ts";
import type { ObservedStep } from "./tree-policy.ts";

/** Weight of the latest one in the mean. */
const RATE = 0.3;

/** Of what was seen, in ms a token of one sequence. */
interface Seen {
  /** Drafters had seen none of the tokens, and the step had no prompt. */
  readonly whole?: number;
  /** They had seen most: what it takes to begin counts for few tokens then. */
  readonly part?: number;
  /** In a step with prompts, which take what nobody knows well. */
  readonly prompt?: number;
}

/**
 * What it costs, once, to draft after plain decoding: drafters have to compute the tokens that they have not seen, in a step of its own on
 * the device. On two cores that is as much as some steps, on a GPU next to nothing.
 *
 * Until that was seen by itself the least counts of what else was: it may be ten times too much, and then nobody would look at trees again and see
 * what it is.
 */
export class CatchUpCost {
  #seen: Seen = {};
  /** Plain steps since something was drafted. */
  #numPlain = Number.POSITIVE_INFINITY;

  /** Of the tokens since something was drafted, in ms. @param context tokens of a sequence, which may have begun later */
  ms(numSequences: number, context: number): number {
    const { whole, part, prompt } = this.#seen;
    const msPerToken = whole ?? Math.min(part ?? prompt ?? 0, prompt ?? part ?? 0);
    return msPerToken * numSequences * Math.min(context, this.#numPlain);
  }

  /** @param targetMs what the target alone takes for its rows */
  observe({ numSequences, context, limits, catchesUp, hasPrompt, stepMs }: ObservedStep, targetMs: () => number): void {
    const numTokens = numSequences * Math.min(context, this.#numPlain);
    if (catchesUp && numTokens > 0) {
      const kind = hasPrompt ? "prompt" : this.#numPlain < context ? "part" : "whole";
      const ms = Math.max(0, stepMs - targetMs()) / numTokens;
      const before = this.#seen[kind] ?? ms;
      this.#seen = { ...this.#seen, [kind]: before + RATE * (ms - before) };
    }
    this.#numPlain = catchesUp || !isPlain(limits) ? 0 : this.#numPlain + 1;
  }
}
