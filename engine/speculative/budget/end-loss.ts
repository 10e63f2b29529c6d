import type { Forecast } from "./size-choice.ts";
import type { ObservedStep } from "./tree-policy.ts";

/** Steps that the number of ends a token is taken from. */
const WINDOW = 256;
/**
 * Steps in which a lane idles after its sequence's end, whoever comes next: one was submitted before the end was known, and another one
 * before someone new could be there. Lanes that wait longer wait for others to come in with: for a time, however long steps are.
 */
const NUM_IDLE_STEPS = 2;

/**
 * What it costs that sequences end: the tokens that are accepted past an end, and the steps in which a lane idles. Both are counted in steps, as these
 * take longer with trees, and longer with larger ones: of sequences of 60 tokens, trees whose steps take 1.75 times as long and emit
 * as much more lose 3 % more than plain decoding.
 */
export class EndLoss {
  /** Over the latest steps. */
  #numTokens = 0;
  #numEnded = 0;
  /** Steps of one lane. */
  #numIdle = 0;
  /** Lanes that idled in the latest step, and those that began to, in the latest ones. */
  #idleLanes = 0;
  #lately: readonly number[] = [];

  observe({ numSequences, numLanes, numEmitted, onDevice }: ObservedStep): void {
    // Who emits nothing in a step of the host is not at the end of its prompt.
    const idleLanes = onDevice ? numLanes - numSequences : 0;
    const numEnded = Math.max(0, idleLanes - this.#idleLanes);
    this.#idleLanes = idleLanes;
    this.#lately = [numEnded, ...this.#lately].slice(0, NUM_IDLE_STEPS);
    const endedLately = this.#lately.reduce((sum, ended) => sum + ended, 0);
    const kept = 1 - 1 / WINDOW;
    this.#numTokens = kept * this.#numTokens + numEmitted;
    this.#numEnded = kept * this.#numEnded + numEnded;
    this.#numIdle = kept * this.#numIdle + Math.min(idleLanes, endedLately);
  }

  /** Time that ends add to a token of the batch, in ms, with steps like these. Of what is accepted in a last step half is past the end. */
  msPerToken(numSequences: number, { rate, stepMs, numAccepted }: Forecast): number {
    if (this.#numTokens === 0) return 0;
    const pastEnds = (this.#numEnded * (numAccepted / 2)) / rate;
    const idleMs = this.#numIdle * (stepMs / numSequences);
    return (pastEnds + idleMs) / this.#numTokens;
  }
}
