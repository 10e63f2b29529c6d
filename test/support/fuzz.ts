const NIGHT_MS = 1000 * Number(process.env.CANOPY_FUZZ_SECONDS ?? 0);

/**
 * So many rounds or, where CANOPY_FUZZ_SECONDS is set, as many as fit into that time. Seeds are 0, 1, 2, …
 * @returns how many rounds there were
 * @throws Error that names the seed of the round that threw
 */
export async function fuzz(rounds: number, round: (seed: number) => void | Promise<void>): Promise<number> {
  const endMs = performance.now() + NIGHT_MS;
  let seed = 0;
  for (; seed < rounds || performance.now() < endMs; seed++) {
    try {
      await round(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    // The test runner talks to this process meanwhile.
    if (seed % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  return seed;
}

/** Counts what came of rounds: they must reach both sides of the checks, or they test nothing. */
export class Outcomes {
  readonly #counts = new Map<string, number>();

  add(outcome: string): void {
    this.#counts.set(outcome, this.count(outcome) + 1);
  }

  count(outcome: string): number {
    return this.#counts.get(outcome) ?? 0;
  }

  toString(): string {
    return [...this.#counts].map(([outcome, count]) => `${count} ${outcome}`).join(", ");
  }
}
