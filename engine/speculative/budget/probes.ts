import { lossShare } from "./loss-share.ts";

/** Probes at most, whatever they lose, while drafting was hardly seen yet. */
const NUM_FIRST = 8;
/** One that was given up has told as much as so many. */
const TOLD_BY_LOST = 4;

/**
 * Keeps the time that plain decoding loses to probes, which see what trees are worth now, within a share of it. What one tells at a
 * load says something of the others.
 */
export class Probes {
  #count = 0;
  /** Time in plain steps since the latest. */
  #plainMs = 0;
  /** By load, what the latest there lost. */
  readonly #lossesMs = new Map<number, number>();

  /** Time of a plain step. */
  addPlain(ms: number): void {
    this.#plainMs += ms;
  }

  /** @param mostLossMs what a probe may lose: the first at a load is thought to */
  isDue(load: number, isUnseen: boolean, mostLossMs: number): boolean {
    if (isUnseen && this.#count < NUM_FIRST) return true;
    return this.#plainMs * lossShare(this.#count) > (this.#lossesMs.get(load) ?? mostLossMs);
  }

  /**
   * @param load at which it was
   * @param lossMs against plain decoding; less than nothing is no loss
   * @param isLost it was given up
   */
  end(load: number, lossMs: number, isLost: boolean): void {
    this.#count += isLost ? TOLD_BY_LOST : 1;
    this.#plainMs = 0;
    this.#lossesMs.set(load, Math.max(0, lossMs));
  }
}
