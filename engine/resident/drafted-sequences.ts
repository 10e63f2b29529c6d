import type { Sequence } from "../../scheduler/sequence.ts";
import type { ResidentDrafter } from "./resident-drafter.ts";

/**
 * For which sequences of a run something is drafted: those of which the drafter has seen all tokens but those of the last step, and for
 * which its cache has room. The others decode plainly beside them.
 */
export class DraftedSequences {
  readonly #drafter: ResidentDrafter;
  #ids: ReadonlySet<string> = new Set();

  constructor(drafter: ResidentDrafter) {
    this.#drafter = drafter;
  }

  /** Reserves what drafting to this depth needs. @returns whether anything can be drafted for any of them */
  start(sequences: readonly Sequence[], depth: number): boolean {
    if (depth === 0) return false;
    const drafter = this.#drafter;
    const draftable = sequences.filter(({ id, numTokens }) => {
      return drafter.numRecent(id, numTokens) !== undefined && drafter.reserve(id, numTokens, depth);
    });
    this.#ids = new Set(draftable.map(({ id }) => id));
    return this.#ids.size > 0;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  /**
   * Reserves what the next step needs.
   * @param mostTokens that a sequence may have by then
   * @returns false where blocks do not suffice, or now suffice for one for whom nothing is drafted
   */
  goOn(sequences: readonly Sequence[], depth: number, mostTokens: (sequence: Sequence) => number): boolean {
    return sequences.every((sequence) => {
      const { id, numTokens } = sequence;
      if (!this.#ids.has(id)) return !this.#drafter.canCatchUp(id, numTokens);
      return this.#drafter.reserve(id, mostTokens(sequence), depth);
    });
  }

  /** Whether the drafter, in a step of the host, gets nearer to drafting for one of them for whom it cannot now. */
  canCatchUp(sequences: readonly Sequence[]): boolean {
    return sequences.some(({ id, numTokens }) => {
      return this.#drafter.numRecent(id, numTokens) === undefined && this.#drafter.canCatchUp(id, numTokens);
    });
  }
}
