import type { BlockManager } from "../../kvcache/block-manager.ts";

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
