import type { BlockManager } from "../../kvcache/block-manager.ts";
import { invariant } from "../../kvcache/invariant.ts";
import type { KnownSequence } from "./proposer.ts";

/**
 * Block tables of a drafter's own paged cache. Sequences come and go at any time; the blocks of one that ended are kept as
 * long as someone holds: passes that are under way may still write them.
 */
export class DraftTables {
  readonly blocks: BlockManager;
  /** Table of each sequence. Unlike ids, tables' names are never used twice. */
  readonly #tables = new Map<string, string>();
  readonly #fenced: string[] = [];
  #numHolders = 0;
  #numTables = 0;

  constructor(blocks: BlockManager) {
    this.blocks = blocks;
  }

  /** @param tokenIds names what the table's blocks hold, for the prefix cache; may be a live view */
  begin(id: string, tokenIds: readonly number[], cacheSalt?: string): void {
    const table = `${id}#${this.#numTables++}`;
    this.#tables.set(id, table);
    this.blocks.open(table, this.blocks.hashChain(tokenIds, cacheSalt));
  }

  /** Takes what the prefix cache has of the sequence's next tokens, of the first `maxTokens` at most. */
  adopt(id: string, maxTokens: number): void {
    const table = this.#tables.get(id);
    if (table !== undefined) this.blocks.adopt(table, maxTokens);
  }

  end(id: string): void {
    const table = this.#tables.get(id);
    if (table === undefined) return;
    this.#tables.delete(id);
    if (this.#numHolders > 0) this.#fenced.push(table);
    else this.blocks.free(table);
  }

  endAll(): void {
    for (const id of [...this.#tables.keys()]) this.end(id);
  }

  tableOf(id: string): string | undefined {
    return this.#tables.get(id);
  }

  /**
   * @throws InvariantError where blocks are lost or shared wrongly, a table is of no one who is known, or, while no pass is under
   *   way, is kept for one or holds K/V of more tokens than are known
   */
  checkIntegrity(sequences: readonly KnownSequence[]): void {
    this.blocks.checkIntegrity();
    const numTokens = new Map(sequences.map((sequence) => [sequence.id, sequence.numTokens]));
    for (const [id, table] of this.#tables) {
      const numComputed = this.blocks.numComputedTokens(table);
      invariant(numTokens.has(id), () => `the drafter has a table of ${id}, which is not in flight`);
      invariant(
        this.#numHolders > 0 || numComputed <= (numTokens.get(id) ?? 0),
        () => `${id}: the drafter has K/V of ${numComputed} tokens, ${numTokens.get(id)} are known`,
      );
    }
    const numFenced = this.#fenced.length;
    invariant(
      this.#numHolders > 0 || numFenced === 0,
      () => `the drafter keeps ${numFenced} ended tables, but no pass is under way`,
    );
    const [numFound, numOwned] = [this.blocks.numTables, this.#tables.size + numFenced];
    invariant(numFound === numOwned, () => `the drafter has ${numFound} tables, ${numOwned} of them are someone's`);
  }

  /** A pass is under way. To be followed by one `release`. */
  hold(): void {
    this.#numHolders++;
  }

  release(): void {
    this.#numHolders--;
    if (this.#numHolders > 0) return;
    for (const table of this.#fenced.splice(0)) this.blocks.free(table);
  }
}
