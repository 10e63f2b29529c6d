import type { Sequence } from "../../scheduler/sequence.ts";
import type { ResidentDrafter } from "./resident-drafter.ts";

/**
 * For which sequences of a run something is drafted: those of which the drafter has seen all tokens but those of the last step, and for
 * which its cache has room. The others decode plainly beside them.
 */
export class DraftedSequences {
  readonly #drafter: ResidentDrafter;
  /** By id, known tokens that the run's first step takes in. */
  #numRecent: ReadonlyMap<string, number> = new Map();

  constructor(drafter: ResidentDrafter) {
    this.#drafter = drafter;
  }

  /** Reserves what drafting to this depth needs. @returns whether anything can be drafted for any of them */
  start(sequences: readonly Sequence[], depth: number): boolean {
    if (depth === 0) return false;
    const drafted = new Map<string, number>();
    for (const { id, numTokens } of sequences) {
      const numRecent = this.#drafter.numRecent(id, numTokens);
      if (numRecent !== undefined && this.#drafter.reserve(id, numTokens, depth)) drafted.set(id, numRecent);
    }
    this.#numRecent = drafted;
    return drafted.size > 0;
  }

  has(id: string): boolean {
    return this.#numRecent.has(id);
  }

  /** Known tokens that the run's first step takes in: the root alone where nothing is drafted. */
  numRecent(id: string): number {
    return this.#numRecent.get(id) ?? 1;
  }

  /**
   * Reserves what the next step needs.
   * @param mostTokens that a sequence may have by then
   * @returns false where blocks do not suffice, or now suffice for one for whom nothing is drafted
   */
  goOn(sequences: readonly Sequence[], depth: number, mostTokens: (sequence: Sequence) => number): boolean {
    return sequences.every((sequence) => {
      const { id, numTokens } = sequence;
      if (!this.has(id)) return !this.#drafter.hasRoom(id, numTokens);
      return this.#drafter.reserve(id, mostTokens(sequence), depth);
    });
  }

  /** Whether the drafter, in a step of the host, gets nearer to drafting for one of them for whom it cannot now. */
  canCatchUp(sequences: readonly Sequence[]): boolean {
    return sequences.some(({ id, numTokens }) => {
      return this.#drafter.numRecent(id, numTokens) === undefined && this.#drafter.hasRoom(id, numTokens);
    });
  }
}
