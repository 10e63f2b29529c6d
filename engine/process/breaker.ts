export interface BreakerLimits {
  /** So many failures… */
  readonly maxFailures: number;
  /** …within so long open the breaker. */
  readonly windowMs: number;
}

export const BREAKER_LIMITS: BreakerLimits = { maxFailures: 3, windowMs: 60_000 };

/** Says when starting again is no use: the engine failed too often in a short time. */
export class Breaker {
  readonly #limits: BreakerLimits;
  #failures: number[] = [];

  constructor(limits: BreakerLimits) {
    this.#limits = limits;
  }

  /** @returns whether the breaker is open, and only an operator can go on. */
  record(nowMs: number): boolean {
    const { maxFailures, windowMs } = this.#limits;
    this.#failures = [...this.#failures.filter((failedMs) => nowMs - failedMs < windowMs), nowMs];
    return this.#failures.length >= maxFailures;
  }
}
