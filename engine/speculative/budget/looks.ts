import { isPlain } from "../../../scheduler/output.ts";
import { gainOfLooking } from "./gain-of-looking.ts";
import type { Doubt } from "./size-choice.ts";
import type { Way } from "./ways.ts";

/** What there is to look at, beside what is in use. */
export interface LookChoice {
  readonly inUse: Way;
  readonly others: readonly Way[];
  /** Of a look. */
  readonly numSteps: number;
  /** What it costs to begin with it, and with what is in use again. */
  readonly switchMs: (other: Way) => number;
  /** What it costs to draft at all, once, while plain decoding is in use. */
  readonly catchUpMs: number;
  /** How well another way's rate is known beside that of the one in use. */
  readonly doubt: (other: Way) => Doubt;
}

/** Time that what is learned is thought to be good for, and of which it counts what was lost to looks, in ms. */
const HORIZON_MS = 60_000;
/**
 * Share of the time at a load that may be lost to looks, and steps that may be at first: at the first load of all, and at others, as looks
 * at one load tell of all what their parts take.
 */
const LOSS_SHARE = 0.005;
const FIRST_LOSS_STEPS = { first: 16, others: 5 } as const;
/** Share of the time since the latest look that one may lose which nothing speaks for, the first time and always. */
const FIRST_DUE_SHARE = 0.01;
const LEAST_DUE_SHARE = 0.002;

/** What there was of looks at a load. */
interface Spent {
  /** Time at the load, in ms, and what of it is thought to be lost. */
  readonly ms: number;
  readonly lostMs: number;
  /** Looks that nothing spoke for, and time since the latest. */
  readonly numDue: number;
  readonly sinceMs: number;
}

const NOTHING_SPENT: Spent = { ms: 0, lostMs: 0, numDue: 0, sinceMs: 0 };

/**
 * Decides when to look at another way to decode than the one in use: when what is expected of knowing it better is more than what
 * the look costs, and no more is lost to looks than a share of the time. Texts and machines change, and what was measured may have been
 * an accident: so plain decoding and the largest trees are looked at now and then also while other trees are far better, and the best
 * trees while plain decoding is.
 */
export class Looks {
  /** By load. */
  readonly #spent = new Map<number, Spent>();

  /** Time at a load. */
  add(load: number, ms: number): void {
    const { ms: msBefore, lostMs, numDue, sinceMs } = this.#at(load);
    const kept = Math.min(1, HORIZON_MS / (msBefore + ms));
    this.#spent.set(load, { ms: kept * (msBefore + ms), lostMs: kept * lostMs, numDue, sinceMs: sinceMs + ms });
  }

  /** @returns the way to look at, whose cost is taken for spent; undefined where none is worth it */
  next(load: number, choice: LookChoice): Way | undefined {
    const due = this.#due(load, choice);
    const way = due ?? this.#mostTelling(load, choice);
    if (way === undefined) return undefined;
    const before = this.#at(load);
    const lostMs = before.lostMs + costOf(way, choice);
    this.#spent.set(load, { ...before, lostMs, ...(due ? { numDue: before.numDue + 1, sinceMs: 0 } : {}) });
    return way;
  }

  #mostTelling(load: number, choice: LookChoice): Way | undefined {
    const { inUse, others, doubt } = choice;
    const { ms, lostMs } = this.#at(load);
    const mostMs = LOSS_SHARE * ms + this.#firstLossSteps(load) * inUse.stepMs - lostMs;
    let best: { readonly way: Way; readonly netMs: number } | undefined;
    for (const way of others) {
      const costMs = costOf(way, choice);
      if (costMs > mostMs) continue;
      const { variance, noise } = doubt(way);
      const netMs = HORIZON_MS * gainOfLooking(Math.log(inUse.tokenMs / way.tokenMs), variance, noise) - costMs;
      if (netMs > (best?.netMs ?? 0)) best = { way, netMs };
    }
    return best?.way;
  }

  /** The best trees while plain decoding is in use; else plain decoding and the largest trees in turn. */
  #due(load: number, choice: LookChoice): Way | undefined {
    const { inUse, others } = choice;
    const { numDue, sinceMs } = this.#at(load);
    const isTurnOfLargest = !isPlain(inUse.limits) && numDue % 2 === 1;
    const found = isTurnOfLargest
      ? first(others, (a, b) => numNodes(b) - numNodes(a) || b.limits.maxDraftDepth - a.limits.maxDraftDepth)
      : first(
          others.filter((way) => isPlain(way.limits) !== isPlain(inUse.limits)),
          (a, b) => a.tokenMs - b.tokenMs,
        );
    const share = Math.max(LEAST_DUE_SHARE, FIRST_DUE_SHARE / (1 + numDue));
    return found && costOf(found, choice) < share * sinceMs ? found : undefined;
  }

  #firstLossSteps(load: number): number {
    const hasLookedElsewhere = [...this.#spent].some(([other, { lostMs }]) => other !== load && lostMs > 0);
    return FIRST_LOSS_STEPS[hasLookedElsewhere ? "others" : "first"];
  }

  #at(load: number): Spent {
    return this.#spent.get(load) ?? NOTHING_SPENT;
  }
}

function numNodes({ limits }: Way): number {
  return limits.numLookaheadNodes;
}

function first<T>(items: readonly T[], compare: (a: T, b: T) => number): T | undefined {
  let found = items[0];
  for (const item of items) if (found !== undefined && compare(item, found) < 0) found = item;
  return found;
}

/** Time that a look is expected to lose. */
function costOf(way: Way, { inUse, numSteps, switchMs, catchUpMs }: LookChoice): number {
  const lossShare = Math.max(0, 1 - inUse.tokenMs / way.tokenMs);
  const draftingMs = isPlain(inUse.limits) ? catchUpMs : 0;
  return numSteps * way.stepMs * lossShare + switchMs(way) + draftingMs;
}
