import { BlockPool } from "./block-pool.ts";
import { BLOCK_SIZE, type BlockId, numBlocksFor, type SlotId, slotOf } from "./ids.ts";
import { invariant } from "./invariant.ts";

/** One sequence's share of the cache: slot i of the sequence is offset i mod 16 of block i div 16 of its table. */
interface Table {
  readonly blocks: BlockId[];
  /** Leading slots that hold final K/V. */
  numComputedTokens: number;
}

/**
 * Block tables of the sequences in the batch. A table grows before a step (`ensure`) to hold the tokens of the step
 * and its lookahead slots; after it, `commit` says how many tokens are final and `trim` gives back what is not needed.
 */
export class BlockManager {
  readonly #pool: BlockPool;
  readonly #tables = new Map<string, Table>();

  constructor(pool: BlockPool | number) {
    this.#pool = typeof pool === "number" ? new BlockPool(pool) : pool;
  }

  get numFreeBlocks(): number {
    return this.#pool.numFreeBlocks;
  }

  /** Blocks that sequences can hold together: all but the reserved block 0. */
  get numAllocatableBlocks(): number {
    return this.#pool.numAllocatableBlocks;
  }

  /** Share of the allocatable blocks that is held, 0…1. */
  get usage(): number {
    return 1 - this.numFreeBlocks / this.numAllocatableBlocks;
  }

  /** Sequences that have a table. */
  get numTables(): number {
    return this.#tables.size;
  }

  has(seqId: string): boolean {
    return this.#tables.has(seqId);
  }

  /**
   * Grows the table, made on first use, until it has slots for `numTokens` (computed tokens, tokens of this step and
   * lookahead). All or nothing: false, and nothing changed, when the pool lacks blocks.
   */
  ensure(seqId: string, numTokens: number): boolean {
    const table = this.#tables.get(seqId);
    const numMissing = numBlocksFor(numTokens) - (table?.blocks.length ?? 0);
    if (numMissing > this.numFreeBlocks) return false;
    const blocks = table?.blocks ?? [];
    if (table === undefined) this.#tables.set(seqId, { blocks, numComputedTokens: 0 });
    for (let i = 0; i < numMissing; i++) {
      const block = this.#pool.allocate();
      invariant(block !== undefined, "the pool gave fewer blocks than it counted as free");
      blocks.push(block);
    }
    return true;
  }

  /** Where the K/V of slot `index` of the sequence lies. */
  slot(seqId: string, index: number): SlotId {
    const block = this.#table(seqId).blocks[Math.floor(index / BLOCK_SIZE)];
    invariant(block !== undefined, () => `slot ${index} of ${seqId} is not allocated`);
    return slotOf(block, index % BLOCK_SIZE);
  }

  /** The sequence's blocks in order. A live view: it changes with the next `ensure`, `trim` or `free`. */
  blockTable(seqId: string): readonly BlockId[] {
    return this.#table(seqId).blocks;
  }

  /** Slots that the sequence's blocks offer; 0 without a table. */
  numSlots(seqId: string): number {
    return (this.#tables.get(seqId)?.blocks.length ?? 0) * BLOCK_SIZE;
  }

  numComputedTokens(seqId: string): number {
    return this.#table(seqId).numComputedTokens;
  }

  /** The first `numComputedTokens` slots hold final K/V. Never fewer than before: final K/V is only lost by `free`. */
  commit(seqId: string, numComputedTokens: number): void {
    const table = this.#table(seqId);
    invariant(
      numComputedTokens >= table.numComputedTokens && numComputedTokens <= table.blocks.length * BLOCK_SIZE,
      () =>
        `${seqId}: commit of ${numComputedTokens} tokens after ${table.numComputedTokens}, ${this.numSlots(seqId)} slots`,
    );
    table.numComputedTokens = numComputedTokens;
  }

  /** Gives back the blocks beyond what `numTokens` slots need: the rollback of lookahead slots. */
  trim(seqId: string, numTokens: number): void {
    const { blocks, numComputedTokens } = this.#table(seqId);
    invariant(
      numTokens >= numComputedTokens,
      () => `${seqId}: trim to ${numTokens} of ${numComputedTokens} computed tokens`,
    );
    for (const block of blocks.splice(numBlocksFor(numTokens)).reverse()) this.#pool.free(block);
  }

  /** Gives back the whole table. */
  free(seqId: string): void {
    for (const block of this.#table(seqId).blocks.reverse()) this.#pool.free(block);
    this.#tables.delete(seqId);
  }

  /** @throws InvariantError naming what is broken: the pool, a reference count, or a table shorter than its tokens. */
  checkIntegrity(): void {
    this.#pool.checkIntegrity();
    const numHolders = new Map<BlockId, number>();
    for (const [seqId, { blocks, numComputedTokens }] of this.#tables) {
      invariant(
        numComputedTokens <= blocks.length * BLOCK_SIZE,
        () => `${seqId}: ${numComputedTokens} computed tokens in ${blocks.length} blocks`,
      );
      invariant(new Set(blocks).size === blocks.length, () => `${seqId}: a block is twice in its table`);
      for (const block of blocks) numHolders.set(block, (numHolders.get(block) ?? 0) + 1);
    }
    for (let id = 1; id < this.#pool.numBlocks; id++) {
      const block = id as BlockId;
      const [counted, held] = [this.#pool.refCount(block), numHolders.get(block) ?? 0];
      invariant(counted === held, () => `block ${block}: reference count ${counted}, but ${held} tables hold it`);
    }
  }

  #table(seqId: string): Table {
    const table = this.#tables.get(seqId);
    invariant(table !== undefined, () => `sequence ${seqId} has no block table`);
    return table;
  }
}
