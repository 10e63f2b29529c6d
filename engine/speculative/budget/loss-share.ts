/** Share of the time that may be lost the first time at a load, and always. */
const FIRST = 0.04;
const LEAST = 0.004;

/** Share of the time that may be lost to steps that are made to learn from, by log₂ of the load: less each time, as more is known. */
export class LossShare {
  readonly #counts = new Map<number, number>();

  /** How often there were such steps, as far as that counts. */
  count(load: number): number {
    return this.#counts.get(load) ?? 0;
  }

  at(load: number): number {
    return Math.max(LEAST, FIRST / (1 + this.count(load)));
  }

  /** @param weight as how many such times this one counts */
  add(load: number, weight = 1): void {
    this.#counts.set(load, this.count(load) + weight);
  }
}
