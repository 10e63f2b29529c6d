import { isPlain } from "../../../scheduler/output.ts";
import type { ObservedStep } from "./tree-policy.ts";

/** Weight of the latest one in the mean. */
const RATE = 0.3;

/**
 * What it costs, once, to draft after plain decoding: drafters have to compute the tokens that they have not seen, in a step of its own on
 * the device. On two cores that is as much as many steps, on a GPU next to nothing.
 */
export class CatchUpCost {
  /** Of one token of one sequence, in ms; undefined before it was seen. */
  #msPerToken: number | undefined;
  /** Plain steps since something was drafted. */
  #numPlain = Number.POSITIVE_INFINITY;

  /** Of the tokens since something was drafted, in ms. @param context tokens of a sequence, which may have begun later */
  ms(numSequences: number, context: number): number {
    return (this.#msPerToken ?? 0) * numSequences * Math.min(context, this.#numPlain);
  }

  /** @param targetMs what the target alone takes for its rows */
  observe({ numSequences, context, limits, catchesUp, stepMs }: ObservedStep, targetMs: () => number): void {
    // Where drafters have seen some of the tokens it does not tell what one of them takes.
    if (catchesUp && numSequences > 0 && this.#numPlain >= context) {
      const ms = Math.max(0, stepMs - targetMs()) / (numSequences * context);
      this.#msPerToken = (this.#msPerToken ?? ms) + RATE * (ms - (this.#msPerToken ?? ms));
    }
    this.#numPlain = catchesUp || !isPlain(limits) ? 0 : this.#numPlain + 1;
  }
}
