import { loadClass, nearestLoad } from "./load-class.ts";
import type { ObservedStep } from "./tree-policy.ts";

/** Steps that the number of restarts a token is taken from. */
const WINDOW = 256;
/** Weight of a new restart: old ones are forgotten. */
const RATE = 0.1;
/** A restart that seems to have cost so many times the usual was something else. */
const MOST = 3;
/** With drafts a restart costs about so many times what it costs without, where only one of both was seen. */
const DRAFTING_PRIOR = 1.5;

/**
 * What it costs that steady decoding stops for a prompt that has to be computed, and has to get going again: time of the steps
 * in between beyond what their tokens take in steady decoding. Changes of what is drafted do not count: they are the policy's own.
 */
export class RestartLoss {
  /** Means in ms, by log₂ of the load, with drafts and without. */
  readonly #means = { drafting: new Map<number, number>(), plain: new Map<number, number>() };
  /** Over the latest steps. */
  #numRestarts = 0;
  #numTokens = 0;
  /** What the restart under way has lost so far, in ms, and whether a prompt is its reason. */
  #openMs: number | undefined;
  #hasPrompt = false;

  /** Time that restarts add to a token of the batch, in ms. */
  msPerToken(numSequences: number, isDrafting: boolean): number {
    const lossMs = this.#lossMs(numSequences, isDrafting) ?? 0;
    return this.#numTokens === 0 ? 0 : (this.#numRestarts / this.#numTokens) * lossMs;
  }

  /** @param tokensPerMs what such steps emit when they are steady */
  observe(
    { numLanes, limits, isSteady, hasPrompt, stepMs, numEmitted }: ObservedStep,
    tokensPerMs: () => number,
  ): void {
    const kept = 1 - 1 / WINDOW;
    this.#numRestarts *= kept;
    this.#numTokens = kept * this.#numTokens + numEmitted;
    if (!isSteady) {
      if (hasPrompt && !this.#hasPrompt) this.#numRestarts++;
      this.#hasPrompt ||= hasPrompt;
      this.#openMs = (this.#openMs ?? 0) + stepMs - numEmitted / tokensPerMs();
    } else if (this.#openMs !== undefined) {
      const isDrafting = limits.numLookaheadNodes > 0;
      if (this.#hasPrompt) this.#learn(numLanes, isDrafting, Math.max(0, this.#openMs));
      this.#openMs = undefined;
      this.#hasPrompt = false;
    }
  }

  #learn(numSequences: number, isDrafting: boolean, ms: number): void {
    const means = this.#means[isDrafting ? "drafting" : "plain"];
    const before = this.#lossMs(numSequences, isDrafting) ?? ms;
    means.set(loadClass(numSequences), before + RATE * (Math.min(ms, MOST * before) - before));
  }

  /** At the nearest load at which it was seen; undefined where nothing was. */
  #lossMs(numSequences: number, isDrafting: boolean): number | undefined {
    const { drafting, plain } = this.#means;
    const own = nearestLoad(isDrafting ? drafting : plain, loadClass(numSequences));
    if (own !== undefined) return own;
    const other = nearestLoad(isDrafting ? plain : drafting, loadClass(numSequences));
    return other === undefined ? undefined : isDrafting ? other * DRAFTING_PRIOR : other / DRAFTING_PRIOR;
  }
}
