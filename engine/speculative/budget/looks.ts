import type { TreeLimits } from "../../../scheduler/output.ts";
import { gainOfLooking } from "./gain-of-looking.ts";
import type { Doubt } from "./size-choice.ts";

/** A way to decode, and what is thought of it. */
export interface Way {
  /** No nodes: plain decoding. */
  readonly limits: TreeLimits;
  /** What a token of the batch takes, and a step. */
  readonly tokenMs: number;
  readonly stepMs: number;
}

/** What it takes to look at another way. */
export interface LookSize {
  readonly numSteps: number;
  /** Steps of either way that a change costs in all. */
  readonly switchSteps: number;
}

/** Steps that what is learned is thought to be good for at first; later for as long as the load has lasted. */
const FIRST_STEPS = 2000;
/** And no longer than this, in ms. */
const MOST_MS = 60_000;
/** Share of the time at a load that may be lost to looks, and steps that may be at first. */
const LOSS_SHARE = 0.005;
const FIRST_LOSS_STEPS = 16;
/** Share of the time since the latest look that one may lose which nothing speaks for, the first time and always. */
const FIRST_DUE_SHARE = 0.04;
const LEAST_DUE_SHARE = 0.002;

/** What there was of looks at a load. */
interface Spent {
  /** Time at the load, in ms, and what of it is thought to be lost. */
  readonly ms: number;
  readonly lostMs: number;
  /** Looks, and time since the latest. */
  readonly count: number;
  readonly sinceMs: number;
}

const NOTHING_SPENT: Spent = { ms: 0, lostMs: 0, count: 0, sinceMs: 0 };

/**
 * Decides when to look at another way to decode than the one in use: when what is expected of knowing it better is more than what
 * the look costs, and no more is lost to looks than a share of the time. Texts and machines change, and what was measured may have been
 * an accident: so plain decoding is looked at now and then also while trees are far better, and the best trees while plain decoding is.
 */
export class Looks {
  /** By load. */
  readonly #spent = new Map<number, Spent>();

  /** Time at a load. */
  add(load: number, ms: number): void {
    const before = this.#at(load);
    const kept = Math.min(1, MOST_MS / (before.ms + ms));
    const spent = { ms: kept * (before.ms + ms), lostMs: kept * before.lostMs, sinceMs: before.sinceMs + ms };
    this.#spent.set(load, { ...before, ...spent });
  }

  /** @returns the way to look at, whose cost is taken for spent; undefined where none is worth it */
  next(
    load: number,
    inUse: Way,
    others: readonly Way[],
    size: LookSize,
    doubt: (other: Way) => Doubt,
  ): Way | undefined {
    const way = this.#mostTelling(load, inUse, others, size, doubt) ?? this.#due(load, inUse, others, size);
    if (way === undefined) return undefined;
    const before = this.#at(load);
    const lostMs = before.lostMs + costOf(way, inUse, size);
    this.#spent.set(load, { ...before, lostMs, count: before.count + 1, sinceMs: 0 });
    return way;
  }

  #mostTelling(
    load: number,
    inUse: Way,
    others: readonly Way[],
    size: LookSize,
    doubt: (other: Way) => Doubt,
  ): Way | undefined {
    const { ms, lostMs } = this.#at(load);
    const horizonMs = Math.min(MOST_MS, ms + FIRST_STEPS * inUse.stepMs);
    const mostMs = LOSS_SHARE * ms + FIRST_LOSS_STEPS * inUse.stepMs - lostMs;
    let best: { readonly way: Way; readonly netMs: number } | undefined;
    for (const way of others) {
      const costMs = costOf(way, inUse, size);
      if (costMs > mostMs) continue;
      const { variance, noise } = doubt(way);
      const netMs = horizonMs * gainOfLooking(Math.log(inUse.tokenMs / way.tokenMs), variance, noise) - costMs;
      if (netMs > (best?.netMs ?? 0)) best = { way, netMs };
    }
    return best?.way;
  }

  /** Where trees are in use, plain decoding; else the best trees. */
  #due(load: number, inUse: Way, others: readonly Way[], size: LookSize): Way | undefined {
    const { count, sinceMs } = this.#at(load);
    const best = others.filter((way) => drafts(way) !== drafts(inUse)).sort((a, b) => a.tokenMs - b.tokenMs)[0];
    const share = Math.max(LEAST_DUE_SHARE, FIRST_DUE_SHARE / (1 + count));
    return best && costOf(best, inUse, size) < share * sinceMs ? best : undefined;
  }

  #at(load: number): Spent {
    return this.#spent.get(load) ?? NOTHING_SPENT;
  }
}

function drafts({ limits }: Way): boolean {
  return limits.numLookaheadNodes > 0;
}

/** Time that a look is expected to lose. */
function costOf(way: Way, inUse: Way, { numSteps, switchSteps }: LookSize): number {
  const lossShare = Math.max(0, 1 - inUse.tokenMs / way.tokenMs);
  return numSteps * way.stepMs * lossShare + switchSteps * (way.stepMs + inUse.stepMs);
}
