import { LossShare } from "./loss-share.ts";

/** Probes at most, whatever they lose, at a load at which drafting was hardly seen yet. */
const NUM_FIRST = 8;
/** One that was given up has told as much as so many. */
const TOLD_BY_LOST = 4;

/** Keeps the time that plain decoding loses to probes, which see what trees are worth now, within a share of it. */
export class Probes {
  readonly #share = new LossShare();
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
    if (isUnseen && this.#share.count(load) < NUM_FIRST) return true;
    return this.#plainMs * this.#share.at(load) > (this.#lossesMs.get(load) ?? mostLossMs);
  }

  /**
   * @param load at which it was
   * @param lossMs against plain decoding; less than nothing is no loss
   * @param isLost it was given up
   */
  end(load: number, lossMs: number, isLost: boolean): void {
    this.#share.add(load, isLost ? TOLD_BY_LOST : 1);
    this.#plainMs = 0;
    this.#lossesMs.set(load, Math.max(0, lossMs));
  }
}
