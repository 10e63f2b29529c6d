import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { SchedulerOutput } from "../../scheduler/output.ts";
import type { Sequence } from "../../scheduler/sequence.ts";

/** Who has computed what, so that tokens which count as computed without a step can be told from those that never were. */
export class CacheLedger {
  readonly #isOn: boolean;
  readonly #salts = new Map<string, string>();
  /** Beginnings that some sequence has computed, with its salt. */
  readonly #computed = new Set<string>();
  #numComputedBefore: ReadonlyMap<string, number> = new Map();

  constructor(isOn: boolean) {
    this.#isOn = isOn;
  }

  add(id: string, cacheSalt: string): void {
    this.#salts.set(id, cacheSalt);
  }

  beforePlan(live: readonly { readonly sequence: Sequence }[]): void {
    this.#numComputedBefore = new Map(live.map(({ sequence }) => [sequence.id, sequence.numComputedTokens]));
  }

  /**
   * Counts sequences that came with a part of their prompt computed, preempted ones that came back with a part of theirs, and
   * those of both whose part ends inside a block.
   * @throws Error where no sequence of the same salt had computed it, and where it ends inside a block before the last token
   */
  checkPlan({ sequences, admitted }: SchedulerOutput) {
    let [numHits, numResumed, numTails] = [0, 0, 0];
    for (const { sequence } of sequences) {
      const { id, numComputedTokens, numCachedTokens, numPromptTokens } = sequence;
      const isNew = admitted.includes(sequence);
      const numCached = Math.min(numComputedTokens, numPromptTokens);
      if (isNew && numCachedTokens !== numCached) throw new Error(`${id}: ${numCachedTokens} cached, not ${numCached}`);
      if (numComputedTokens === this.#numComputedBefore.get(id)) continue;
      if (!this.#isOn || !this.#computed.has(this.#keyOf(sequence, numComputedTokens)))
        throw new Error(`${id}: ${numComputedTokens} tokens computed by no one`);
      if (numComputedTokens % BLOCK_SIZE > 0) {
        if (numComputedTokens !== sequence.numTokens - 1) throw new Error(`${id}: a tail is copied in part`);
        numTails++;
      }
      if (isNew) numHits++;
      else numResumed++;
    }
    return { numHits, numResumed, numTails };
  }

  afterCommit({ sequences }: SchedulerOutput): void {
    for (const { sequence, startPosition } of sequences) {
      for (let end = startPosition + 1; end <= sequence.numComputedTokens; end++)
        this.#computed.add(this.#keyOf(sequence, end));
    }
  }

  #keyOf({ id, tokenIds }: Sequence, numTokens: number): string {
    return `${this.#salts.get(id)}: ${tokenIds.slice(0, numTokens)}`;
  }
}
