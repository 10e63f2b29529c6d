import { BlockPool } from "./block-pool.ts";
import { HashChain } from "./hash-chain.ts";
import { BLOCK_SIZE, type BlockId, numBlocksFor, type SlotId, type SlotMove, slotOf } from "./ids.ts";
import { InvariantError, invariant } from "./invariant.ts";
import { beginsWith, contentOf, type Table } from "./table.ts";

/**
 * Block tables of the sequences in the batch. A table grows before a step (`ensure`) to hold the tokens of the step
 * and its lookahead slots; after it, `commit` says how many tokens are final and `trim` gives back what is not needed.
 *
 * The prefix cache: full blocks of final K/V can be found by the hash of all tokens up to their end, while sequences hold
 * them and afterwards, until their memory is needed. A sequence that begins with the same tokens holds the very same blocks
 * (`admit`, `adopt`), and nobody writes them again. What another table holds of the last tokens, in a block that both go on to
 * write, is copied (`adoptTail`).
 */
export class BlockManager {
  readonly #pool: BlockPool;
  readonly #tables = new Map<string, Table>();
  readonly #prefixSecret: Uint8Array | undefined;

  /** @param prefixSecret random bytes that key the prefix cache's hashes; without them there is no prefix cache */
  constructor(pool: BlockPool | number, prefixSecret?: Uint8Array) {
    this.#pool = typeof pool === "number" ? new BlockPool(pool) : pool;
    this.#prefixSecret = prefixSecret;
  }

  /** Blocks that can be handed out, those included that only the prefix cache holds. */
  get numFreeBlocks(): number {
    return this.#pool.numFreeBlocks;
  }

  /** Blocks that sequences can hold together: all but the reserved block 0. */
  get numAllocatableBlocks(): number {
    return this.#pool.numAllocatableBlocks;
  }

  /** Share of the allocatable blocks that sequences hold, 0…1. */
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
   * Names for the blocks of a sequence, to be handed to `admit` or `open`; undefined without a prefix cache.
   * @param tokenIds known tokens, a live view that only grows
   * @param salt sequences of different salts share no block
   */
  hashChain(tokenIds: readonly number[], salt = ""): HashChain | undefined {
    return this.#prefixSecret && new HashChain(tokenIds, this.#prefixSecret, salt);
  }

  /**
   * Makes a table with slots for `numTokens` tokens: cached blocks first, as in `adopt`, for at most all tokens but the last.
   * False, and nothing changed, where fewer than `numSpareBlocks` free blocks would be left, and where another table is
   * about to compute the tokens of the first block that is not cached: then waiting for it saves the work.
   */
  admit(seqId: string, chain: HashChain | undefined, numTokens: number, numSpareBlocks: number): boolean {
    const cached = this.#findCached(chain, 0, numTokens - 1);
    const numRevived = cached.filter((block) => this.#pool.refCount(block) === 0).length;
    const numTaken = numBlocksFor(numTokens) - cached.length + numRevived;
    if (numTaken + numSpareBlocks > this.numFreeBlocks || this.#isComputedSoon(chain, cached.length, numTokens))
      return false;
    this.open(seqId, chain);
    this.adopt(seqId, numTokens - 1);
    return this.ensure(seqId, numTokens);
  }

  /** Whether `admit` refuses these tokens because another table is about to compute what they begin with. */
  isUnderWay(chain: HashChain | undefined, numTokens: number): boolean {
    return this.#isComputedSoon(chain, this.#findCached(chain, 0, numTokens - 1).length, numTokens);
  }

  /** Makes an empty table whose blocks others may find, by the names of `chain`. */
  open(seqId: string, chain: HashChain | undefined): void {
    invariant(!this.#tables.has(seqId), () => `sequence ${seqId} has a block table already`);
    this.#tables.set(seqId, { blocks: [], numComputedTokens: 0, chain, numPublished: 0, distrusted: false });
  }

  /**
   * Appends cached blocks that hold the K/V of the sequence's next tokens, of the first `maxTokens` at most, which so are
   * computed. Does nothing where the table has slots beyond its computed tokens.
   */
  adopt(seqId: string, maxTokens: number): void {
    const table = this.#table(seqId);
    const { blocks, chain, numComputedTokens } = table;
    if (numComputedTokens < blocks.length * BLOCK_SIZE) return;
    // Tokens of its own blocks may have become known since the last commit.
    this.#publish(table);
    const found = this.#findCached(chain, blocks.length, maxTokens);
    if (found.length === 0) return;
    for (const block of found) this.#pool.retain(block);
    blocks.push(...found);
    table.numComputedTokens = blocks.length * BLOCK_SIZE;
    table.numPublished = blocks.length;
  }

  /**
   * Completes the first `maxTokens` tokens, of which the table has all full blocks, from another table that has computed the
   * same tokens. The rest, less than a block, counts as computed from now on: whoever asked makes the copies, in order, before
   * anything is written that is planned later.
   * @returns the copies; none where no table has those tokens
   */
  adoptTail(seqId: string, maxTokens: number): readonly SlotMove[] {
    const table = this.#table(seqId);
    const { chain, numComputedTokens: first } = table;
    const numMissing = maxTokens - first;
    if (chain === undefined || first % BLOCK_SIZE !== 0 || numMissing <= 0 || numMissing >= BLOCK_SIZE) return [];
    const source = [...this.#tables].find(
      ([, other]) => other.numComputedTokens >= maxTokens && beginsWith(other, chain, maxTokens),
    );
    if (source === undefined) return [];
    this.commit(seqId, maxTokens);
    return Array.from({ length: numMissing }, (_, i) => ({
      from: this.slot(source[0], first + i),
      to: this.slot(seqId, first + i),
    }));
  }

  /** Whether `ensure` can grow the table, or one that is not there yet, to so many slots now. */
  hasRoom(seqId: string, numTokens: number): boolean {
    const numMissing = numBlocksFor(numTokens) - (this.#tables.get(seqId)?.blocks.length ?? 0);
    return numMissing <= this.numFreeBlocks;
  }

  /**
   * Grows the table, made on first use, until it has slots for `numTokens` (computed tokens, tokens of this step and
   * lookahead). All or nothing: false, and nothing changed, when the pool lacks blocks.
   */
  ensure(seqId: string, numTokens: number): boolean {
    if (!this.hasRoom(seqId, numTokens)) return false;
    if (!this.has(seqId)) this.open(seqId, undefined);
    const { blocks } = this.#table(seqId);
    while (blocks.length < numBlocksFor(numTokens)) {
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

  /**
   * The first `numComputedTokens` slots hold final K/V: full blocks of them can be found by others. Never fewer than before: final
   * K/V is only lost by `free`.
   */
  commit(seqId: string, numComputedTokens: number): void {
    const table = this.#table(seqId);
    invariant(
      numComputedTokens >= table.numComputedTokens && numComputedTokens <= table.blocks.length * BLOCK_SIZE,
      () =>
        `${seqId}: commit of ${numComputedTokens} tokens after ${table.numComputedTokens}, ${this.numSlots(seqId)} slots`,
    );
    table.numComputedTokens = numComputedTokens;
    this.#publish(table);
  }

  /** The table's K/V is not to be trusted: from now on nobody finds it. Sequences that hold it already keep it. */
  distrust(seqId: string): void {
    const table = this.#table(seqId);
    for (const block of table.blocks) this.#pool.unpublish(block);
    table.distrusted = true;
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

  /** Gives back the whole table. Blocks that can be found stay in the cache, the first of them for longest. */
  free(seqId: string): void {
    const table = this.#table(seqId);
    // Tokens may have become known since the last commit.
    this.#publish(table);
    for (const block of table.blocks.reverse()) this.#pool.free(block);
    this.#tables.delete(seqId);
  }

  /**
   * @throws InvariantError naming what is broken: the pool, a reference count, a table shorter than its tokens, or a block that
   *   tables share which is not full of the same tokens' final K/V.
   */
  checkIntegrity(): void {
    this.#pool.checkIntegrity();
    const numHolders = new Uint32Array(this.#pool.numBlocks);
    for (const [seqId, { blocks, numComputedTokens }] of this.#tables) {
      invariant(
        numComputedTokens <= blocks.length * BLOCK_SIZE,
        () => `${seqId}: ${numComputedTokens} computed tokens in ${blocks.length} blocks`,
      );
      invariant(new Set(blocks).size === blocks.length, () => `${seqId}: a block is twice in its table`);
      for (const block of blocks) numHolders[block] = (numHolders[block] ?? 0) + 1;
    }
    for (let id = 1; id < this.#pool.numBlocks; id++) {
      const counted = this.#pool.refCount(id as BlockId);
      const held = numHolders[id];
      if (counted !== held)
        throw new InvariantError(`block ${id}: reference count ${counted}, but ${held} tables hold it`);
    }
    this.#checkShared();
  }

  /** A block in several tables is full of final K/V of the same tokens, under the same salt. */
  #checkShared(): void {
    const contents = new Map<BlockId, string>();
    for (const table of this.#tables.values()) {
      for (const [index, block] of table.blocks.entries()) {
        if (this.#pool.refCount(block) === 1) continue;
        const content = contentOf(table, index);
        invariant(content !== undefined, () => `block ${block} is shared, but not final in each of its tables`);
        const other = contents.get(block) ?? content;
        invariant(other === content, () => `block ${block} is shared by sequences that begin differently`);
        contents.set(block, content);
      }
    }
  }

  #table(seqId: string): Table {
    const table = this.#tables.get(seqId);
    invariant(table !== undefined, () => `sequence ${seqId} has no block table`);
    return table;
  }

  /** Cached blocks from `index` on, without a gap, whose tokens are among the first `maxTokens`. */
  #findCached(chain: HashChain | undefined, index: number, maxTokens: number): BlockId[] {
    const found: BlockId[] = [];
    for (let i = index; (i + 1) * BLOCK_SIZE <= maxTokens; i++) {
      const hash = chain?.at(i);
      const block = hash && this.#pool.find(hash);
      if (block === undefined) break;
      found.push(block);
    }
    return found;
  }

  /** Whether a table has slots, but no final K/V yet, for block `index` of a text, as far as all of its `numTokens` tokens but the last go. */
  #isComputedSoon(chain: HashChain | undefined, index: number, numTokens: number): boolean {
    if (chain === undefined) return false;
    const numNeeded = Math.min((index + 1) * BLOCK_SIZE, numTokens - 1);
    return [...this.#tables.values()].some(
      (table) => table.numComputedTokens < numNeeded && beginsWith(table, chain, numNeeded),
    );
  }

  /** Lets others find the full blocks of final K/V whose tokens are known. */
  #publish(table: Table): void {
    const { blocks, chain, numComputedTokens, distrusted } = table;
    if (chain === undefined || distrusted) return;
    const numFull = Math.floor(Math.min(numComputedTokens, chain.tokenIds.length) / BLOCK_SIZE);
    for (; table.numPublished < numFull; table.numPublished++) {
      const [block, hash] = [blocks[table.numPublished], chain.at(table.numPublished)];
      if (block !== undefined && hash !== undefined) this.#pool.publish(block, hash);
    }
  }
}
