/** Draft tokens expected at a depth before what was seen there is believed by half; and those that sums look back on. */
const NUM_PRIOR = 64;
const WINDOW = 2000;

/**
 * By what survival is off at each depth. Conditional probabilities may be right on average and their product along a path too low all
 * the same, since texts are hard or easy for whole paths: with EAGLE's drafts by 2 to 4 % at depth 2, 7 to 9 % at depth 3 and 10 to 15 % below.
 */
export class DepthFactors {
  /** By depth: draft tokens that were accepted, and that survival adds up to. */
  readonly #accepted: Float64Array;
  readonly #estimated: Float64Array;

  constructor(maxDepth: number) {
    this.#accepted = new Float64Array(maxDepth + 1);
    this.#estimated = new Float64Array(maxDepth + 1);
  }

  /** @param survival of the nodes of one tree @param outcomes of each of them, whether it is on the text's way: 0…1 */
  observe(depths: readonly number[], survival: readonly number[], outcomes: readonly number[]): void {
    for (let node = 1; node < survival.length; node++) {
      const depth = depths[node] ?? 0;
      const estimated = (this.#estimated[depth] ?? 0) + (survival[node] ?? 0);
      const kept = Math.min(1, WINDOW / estimated);
      this.#estimated[depth] = kept * estimated;
      this.#accepted[depth] = kept * ((this.#accepted[depth] ?? 0) + (outcomes[node] ?? 0));
    }
  }

  /** By depth, 1 for the root's. Where little was seen it is about what it is a level above. */
  get all(): readonly number[] {
    const factors = [1];
    for (let depth = 1; depth < this.#estimated.length; depth++) {
      const above = factors[depth - 1] ?? 1;
      factors.push(((this.#accepted[depth] ?? 0) + NUM_PRIOR * above) / ((this.#estimated[depth] ?? 0) + NUM_PRIOR));
    }
    return factors;
  }
}
