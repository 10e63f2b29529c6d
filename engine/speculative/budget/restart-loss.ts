import { isPlain } from "../../../scheduler/output.ts";
import { loadClass, nearestLoad } from "./load-class.ts";
import type { ObservedStep } from "./tree-policy.ts";

/** Steps that the number of restarts a token is taken from. */
const WINDOW = 256;
/** A restart that seems to have cost so many times the usual was something else. */
const MOST = 3;
/** With drafts a restart costs about so many times what it costs without, before any was seen; and how sure that is, as a variance in log ratio. */
const DRAFTING_PRIOR = 1.3;
const DRAFTING_VARIANCE = 0.1;
/** Of what one restart shows, in log ratio: prompts are long and short, and some of their tokens cached. */
const NOISE = 0.25;
/** By how much prompts cost more or less from one to the next, and what drafts add to them, as variances likewise. */
const LEVEL_WALK = 0.0025;
const RATIO_WALK = 0.0001;
/** Less than any restart costs, in ms: its log is to be a number. */
const LEAST_MS = 1e-3;
/** Of the cost at another load, beside what is known there. */
const OTHER_LOAD = 1;

/** Logs of what a restart costs without drafts, in ms, and of how many times as much it costs with them; and how sure these are. */
interface Cost {
  readonly level: number;
  readonly ratio: number;
  /** Variances, and the covariance. */
  readonly ofLevel: number;
  readonly ofRatio: number;
  readonly ofBoth: number;
}

/**
 * What it costs that steady decoding stops for a prompt that has to be computed, and has to get going again: time of the steps
 * in between beyond what their tokens take in steady decoding. Changes of what is drafted do not count: they are the policy's own.
 *
 * Prompts may become longer, or cached, while only one kind of restarts is seen: that counts for both, and what drafts add to them is
 * kept as a ratio (a Kalman filter over both logs). With means of their own, what restarts with drafts took when an engine was new, and
 * nothing was cached, spoke against drafts for as long as none were in use.
 */
export class RestartLoss {
  /** By log₂ of the load. */
  readonly #costs = new Map<number, Cost>();
  /** Over the latest steps. */
  #numRestarts = 0;
  #numTokens = 0;
  /** Of the latest steady step, log₂. */
  #load: number | undefined;
  /** What the restart under way has lost so far, in ms, and whether a prompt is its reason. */
  #openMs: number | undefined;
  #hasPrompt = false;

  /** Time that restarts add to a token of the batch, in ms. */
  msPerToken(numSequences: number, isDrafting: boolean): number {
    const cost = nearestLoad(this.#costs, loadClass(numSequences));
    if (cost === undefined || this.#numTokens === 0) return 0;
    return (this.#numRestarts / this.#numTokens) * expectedMs(cost, isDrafting);
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
      return;
    }
    const load = loadClass(numLanes);
    // Where another load begins, all its prompts come at once, and nothing was drafted yet.
    const isUsual = this.#hasPrompt && load === this.#load;
    if (isUsual) this.#learn(load, !isPlain(limits), Math.max(0, this.#openMs ?? 0));
    this.#openMs = undefined;
    this.#hasPrompt = false;
    this.#load = load;
  }

  #learn(load: number, isDrafting: boolean, ms: number): void {
    this.#costs.set(load, learned(this.#costs.get(load) ?? this.#thought(load, ms), isDrafting, ms));
  }

  /** Before a restart was seen at this load. */
  #thought(load: number, ms: number): Cost {
    const near = nearestLoad(this.#costs, load);
    if (near) return { ...near, ofLevel: near.ofLevel + OTHER_LOAD };
    const ratio = Math.log(DRAFTING_PRIOR);
    return {
      level: Math.log(Math.max(ms, LEAST_MS)),
      ratio,
      ofLevel: OTHER_LOAD,
      ofRatio: DRAFTING_VARIANCE,
      ofBoth: 0,
    };
  }
}

function expectedMs({ level, ratio }: Cost, isDrafting: boolean): number {
  return Math.exp(level + (isDrafting ? ratio : 0));
}

/** By how much more one took than expected, and not by its log: so that what is expected is the mean. Drafts make none cheaper. */
function learned(cost: Cost, isDrafting: boolean, ms: number): Cost {
  const { level, ratio, ofLevel, ofRatio, ofBoth } = cost;
  const [levelSpread, ratioSpread] = isDrafting ? [ofLevel + ofBoth, ofBoth + ofRatio] : [ofLevel, ofBoth];
  const variance = levelSpread + (isDrafting ? ratioSpread : 0) + NOISE;
  const error = (Math.min(ms / expectedMs(cost, isDrafting), MOST) - 1) / variance;
  return {
    level: level + levelSpread * error,
    ratio: Math.max(0, ratio + ratioSpread * error),
    ofLevel: ofLevel - levelSpread ** 2 / variance + LEVEL_WALK,
    ofRatio: ofRatio - ratioSpread ** 2 / variance + RATIO_WALK,
    ofBoth: ofBoth - (levelSpread * ratioSpread) / variance,
  };
}
