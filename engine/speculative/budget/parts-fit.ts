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
  /** Covariance of the logs. */
  readonly #covariance: number[][];
  #numObserved = 0;

  /**
   * @param factors what is thought before anything was seen; positive
   * @param spreads how sure that is: standard deviations of their logs
   */
  constructor(factors: readonly number[], spreads: readonly number[]) {
    this.#logs = factors.map(Math.log);
    this.#covariance = spreads.map((spread, i) => spreads.map((_, j) => (i === j ? spread ** 2 : 0)));
  }

  get numObserved(): number {
    return this.#numObserved;
  }

  get factors(): readonly number[] {
    return this.#logs.map(Math.exp);
  }

  /** The sum of these parts, each at least 0 and one of them more. */
  at(parts: readonly number[]): number {
    return sumOf(parts, this.#logs);
  }

  /**
   * How sure the ratio of two such sums is: variance of its log.
   * @param others absent where the sum is compared with something else, which is known
   */
  variance(parts: readonly number[], others?: readonly number[]): number {
    const [shares, otherShares] = [sharesOf(parts, this.#logs), others ? sharesOf(others, this.#logs) : []];
    const difference = shares.map((share, i) => share - (otherShares[i] ?? 0));
    return Math.max(
      0,
      dot(
        this.#covariance.map((row) => dot(row, difference)),
        difference,
      ),
    );
  }

  /** @param total what these parts were seen to take together; positive */
  observe(parts: readonly number[], total: number): void {
    const before = [...this.#logs];
    let gains: number[] = [];
    let shares: number[] = [];
    for (let turn = 0; turn < NUM_TURNS; turn++) {
      const sum = sumOf(parts, this.#logs);
      shares = sharesOf(parts, this.#logs);
      const carried = this.#covariance.map((row) => dot(row, shares));
      gains = carried.map((value) => value / (dot(carried, shares) + NOISE ** 2));
      const moved = before.map((value, i) => value - (this.#logs[i] ?? 0));
      const error = Math.log(total / sum) - dot(shares, moved);
      let mostMoved = 0;
      for (const [i, gain] of gains.entries()) {
        const next = (before[i] ?? 0) + gain * error;
        mostMoved = Math.max(mostMoved, Math.abs(next - (this.#logs[i] ?? 0)));
        this.#logs[i] = next;
      }
      if (mostMoved < SETTLED) break;
    }
    const carried = this.#covariance.map((row) => dot(row, shares));
    for (const [i, row] of this.#covariance.entries()) {
      for (const j of row.keys()) row[j] = (row[j] ?? 0) - (gains[i] ?? 0) * (carried[j] ?? 0);
      row[i] = (row[i] ?? 0) + WALK ** 2;
    }
    this.#numObserved++;
  }
}

function sumOf(parts: readonly number[], logs: readonly number[]): number {
  let sum = 0;
  for (const [i, part] of parts.entries()) sum += part * Math.exp(logs[i] ?? 0);
  return sum;
}

/** Of the sum, what each part makes of it. */
function sharesOf(parts: readonly number[], logs: readonly number[]): number[] {
  const sum = sumOf(parts, logs);
  return parts.map((part, i) => (part * Math.exp(logs[i] ?? 0)) / sum);
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (const [i, value] of a.entries()) sum += value * (b[i] ?? 0);
  return sum;
}
