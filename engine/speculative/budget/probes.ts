import { lossShare } from "./loss-share.ts";

/** Probes of a load at most, whatever they lose. */
const NUM_FIRST = 8;
/** One that was given up has told as much as so many. */
const TOLD_BY_LOST = 4;

/**
 * Keeps the time that plain decoding loses to probes, which see what trees are worth now, within a share of it. What one tells at a
 * load says something of the others: all of them make the share less.
 */
export class Probes {
  #count = 0;
  /** Time in plain steps since the latest. */
  #plainMs = 0;
  /** By load, how many there were, and what the latest lost. */
  readonly #ended = new Map<number, { readonly count: number; readonly lossMs: number }>();

  /** Time of a plain step. */
  addPlain(ms: number): void {
    this.#plainMs += ms;
  }

  /** None was made at this load yet. */
  isFirst(load: number): boolean {
    return !this.#ended.has(load);
  }

  /**
   * @param isOpen drafting was hardly seen at this load, and may be better there
   * @param mostLossMs what a probe may lose: the first at a load is thought to
   */
  isDue(load: number, isOpen: boolean, mostLossMs: number): boolean {
    const { count, lossMs } = this.#ended.get(load) ?? { count: 0, lossMs: mostLossMs };
    return (isOpen && count < NUM_FIRST) || this.#plainMs * lossShare(this.#count) > lossMs;
  }

  /**
   * @param load at which it was
   * @param lossMs against plain decoding; less than nothing is no loss
   * @param isLost it was given up
   */
  end(load: number, lossMs: number, isLost: boolean): void {
    const weight = isLost ? TOLD_BY_LOST : 1;
    this.#count += weight;
    this.#plainMs = 0;
    const { count } = this.#ended.get(load) ?? { count: 0 };
    this.#ended.set(load, { count: count + weight, lossMs: Math.max(0, lossMs) });
  }
}
