/** Noise of one observation, as a standard deviation in log ratio. */
export const NOISE = 0.2;
/** What factors move by from one observation to the next: old ones are forgotten over some hundreds. */
const WALK = 0.006;
/** Turns of the update at most: the sum is not linear in the logs of its factors. Most observations move them by little: one will do. */
const NUM_TURNS = 6;
const SETTLED = 1e-3;

/**
 * Factors of a sum, `Σ factor · part`, learned from noisy totals: an extended Kalman filter, iterated, over the factors' logs, so that
 * they stay positive and errors are relative. A total moves those factors most that make most of it and are known least.
 */
export class PartsFit {
  readonly #logs: number[];
  readonly #factors: number[];
  /** Covariance of the logs. */
  readonly #covariance: number[][];
  #numObserved = 0;

  /**
   * @param factors what is thought before anything was seen; positive
   * @param spreads how sure that is: standard deviations of their logs
   */
  constructor(factors: readonly number[], spreads: readonly number[]) {
    this.#logs = factors.map(Math.log);
    this.#factors = [...factors];
    this.#covariance = spreads.map((spread, i) => spreads.map((_, j) => (i === j ? spread ** 2 : 0)));
  }

  get numObserved(): number {
    return this.#numObserved;
  }

  get factors(): readonly number[] {
    return this.#factors;
  }

  /** The sum of these parts, each at least 0 and one of them more. */
  at(parts: readonly number[]): number {
    return dot(parts, this.#factors);
  }

  /**
   * How sure the ratio of two such sums is: variance of its log.
   * @param others absent where the sum is compared with something else, which is known
   */
  variance(parts: readonly number[], others?: readonly number[]): number {
    const [shares, otherShares] = [this.#sharesOf(parts), others ? this.#sharesOf(others) : []];
    const difference = shares.map((share, i) => share - (otherShares[i] ?? 0));
    return Math.max(0, dot(this.#spreadOf(difference), difference));
  }

  /** @param total what these parts were seen to take together; positive */
  observe(parts: readonly number[], total: number): void {
    const before = [...this.#logs];
    let [spread, variance]: [number[], number] = [[], 1];
    for (let turn = 0; turn < NUM_TURNS; turn++) {
      const shares = this.#sharesOf(parts);
      spread = this.#spreadOf(shares);
      variance = dot(spread, shares) + NOISE ** 2;
      // Of the sum as it was before this observation, as far as it is linear in the logs where they are now.
      const error = Math.log(total / this.at(parts)) + dot(shares, this.#logs) - dot(shares, before);
      let mostMoved = 0;
      for (const [i, log] of before.entries()) {
        const next = log + ((spread[i] ?? 0) / variance) * error;
        mostMoved = Math.max(mostMoved, Math.abs(next - (this.#logs[i] ?? 0)));
        this.#logs[i] = next;
        this.#factors[i] = Math.exp(next);
      }
      if (mostMoved < SETTLED) break;
    }
    for (const [i, row] of this.#covariance.entries()) {
      for (const j of row.keys()) row[j] = (row[j] ?? 0) - ((spread[i] ?? 0) * (spread[j] ?? 0)) / variance;
      row[i] = (row[i] ?? 0) + WALK ** 2;
    }
    this.#numObserved++;
  }

  /** Of the sum, what each part makes of it. */
  #sharesOf(parts: readonly number[]): number[] {
    const sum = this.at(parts);
    return parts.map((part, i) => (part * (this.#factors[i] ?? 0)) / sum);
  }

  /** The covariance times a direction. */
  #spreadOf(direction: readonly number[]): number[] {
    return this.#covariance.map((row) => dot(row, direction));
  }
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
