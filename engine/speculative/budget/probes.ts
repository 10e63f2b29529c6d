/** Share of the time that may be lost to probes: to the first of them at a load, and at least. Later ones have less, as more is known. */
const FIRST_SHARE = 0.04;
const LEAST_SHARE = 0.004;
/** Probes at most, whatever they lose, at a load at which drafting was hardly seen yet. */
const NUM_FIRST = 8;
/** One that was given up has told as much as so many. */
const TOLD_BY_LOST = 4;

/** Keeps the time that plain decoding loses to probes, which see what trees are worth now, within a share of it. */
export class Probes {
  /** By log₂ of the load: how many there were, as far as they count. */
  readonly #counts = new Map<number, number>();
  /** Time in plain steps since the latest, and what that lost. */
  #plainMs = 0;
  #lastLossMs: number | undefined;

  /** Time of a plain step. */
  addPlain(ms: number): void {
    this.#plainMs += ms;
  }

  /** @param mostLossMs what a probe may lose: the first is thought to */
  isDue(load: number, isUnseen: boolean, mostLossMs: number): boolean {
    const count = this.#counts.get(load) ?? 0;
    if (isUnseen && count < NUM_FIRST) return true;
    const share = Math.max(LEAST_SHARE, FIRST_SHARE / (1 + count));
    return this.#plainMs * share > (this.#lastLossMs ?? mostLossMs);
  }

  /**
   * @param load at which it was
   * @param lossMs against plain decoding; less than nothing is no loss
   * @param isLost it was given up
   */
  end(load: number, lossMs: number, isLost: boolean): void {
    this.#counts.set(load, (this.#counts.get(load) ?? 0) + (isLost ? TOLD_BY_LOST : 1));
    this.#plainMs = 0;
    this.#lastLossMs = Math.max(0, lossMs);
  }
}
