import { CachedBlocks } from "./cached-blocks.ts";
import type { BlockHash } from "./hash-chain.ts";
import type { BlockId } from "./ids.ts";
import { InvariantError, invariant } from "./invariant.ts";

/**
 * The blocks of the K/V storage: which are free, and how often each of the others is referenced. Blocks without
 * references whose content has a name are cached: they can be found and referenced again, until they are handed out anew.
 * Last freed, first allocated; cached ones only when no other is left. Block 0 is reserved: neither free nor referenced.
 */
export class BlockPool {
  /** Blocks in the storage, the reserved one included. */
  readonly numBlocks: number;
  /** u32 `[numBlocks]`: tables that hold the block; 0 is free or cached. */
  readonly #refCounts: Uint32Array;
  /** Stack of free blocks, the next to allocate last. */
  readonly #freeList: BlockId[] = [];
  readonly #cached = new CachedBlocks();

  constructor(numBlocks: number) {
    invariant(Number.isInteger(numBlocks) && numBlocks >= 2, `a pool needs at least 2 blocks, not ${numBlocks}`);
    this.numBlocks = numBlocks;
    this.#refCounts = new Uint32Array(numBlocks);
    for (let id = numBlocks - 1; id >= 1; id--) this.#freeList.push(id as BlockId);
  }

  /** Blocks that can be handed out at all: all but the reserved one. */
  get numAllocatableBlocks(): number {
    return this.numBlocks - 1;
  }

  /** Blocks that can be handed out now, cached ones included. */
  get numFreeBlocks(): number {
    return this.#freeList.length + this.#cached.numEvictable;
  }

  /** Takes a block with reference count 1, or undefined when all are referenced. A cached one's content is given up. */
  allocate(): BlockId | undefined {
    const block = this.#freeList.pop() ?? this.#cached.evict();
    if (block !== undefined) this.#refCounts[block] = 1;
    return block;
  }

  /** One more holder of a referenced or cached block. */
  retain(block: BlockId): void {
    const count = this.refCount(block);
    invariant(count > 0 || this.#cached.revive(block), () => `retain of free block ${block}`);
    this.#refCounts[block] = count + 1;
  }

  /** One holder less; without holders the block is cached, if its content has a name, or free. */
  free(block: BlockId): void {
    const count = this.refCount(block);
    invariant(count > 0, () => `double free of block ${block}`);
    this.#refCounts[block] = count - 1;
    if (count === 1 && !this.#cached.release(block)) this.#freeList.push(block);
  }

  /** The block that holds this content, referenced or not. */
  find(hash: BlockHash): BlockId | undefined {
    return this.#cached.find(hash);
  }

  /** A referenced block's content is final and can be found from now on, unless another block holds the same. */
  publish(block: BlockId, hash: BlockHash): void {
    invariant(this.refCount(block) > 0, () => `block ${block} is published, but nobody holds it`);
    this.#cached.add(block, hash);
  }

  /** A referenced block's content can no longer be found. */
  unpublish(block: BlockId): void {
    invariant(this.refCount(block) > 0, () => `block ${block} is withdrawn, but nobody holds it`);
    this.#cached.remove(block);
  }

  /** Holders of a block; 0 is free or cached. */
  refCount(block: BlockId): number {
    invariant(block !== 0, "block 0 is reserved");
    const count = this.#refCounts[block];
    if (count === undefined) throw new InvariantError(`block ${block} is outside the pool of ${this.numBlocks}`);
    return count;
  }

  /**
   * @throws InvariantError unless free + cached + referenced = total − 1, the free list has no duplicate, none of it is held or
   *   cached, and names and cached blocks match.
   */
  checkIntegrity(): void {
    invariant(this.#refCounts[0] === 0, "block 0 is referenced");
    this.#cached.checkIntegrity((block) => this.refCount(block));
    // Plain loops: a large pool is checked after every step where that is asked for.
    const isFree = new Uint8Array(this.numBlocks);
    for (const block of this.#freeList) {
      if (isFree[block] === 1) throw new InvariantError(`block ${block} is twice in the free list`);
      if (this.#refCounts[block] !== 0) throw new InvariantError(`free block ${block} is referenced`);
      if (this.#cached.has(block)) throw new InvariantError(`free block ${block} is cached`);
      isFree[block] = 1;
    }
    let numReferenced = 0;
    for (const count of this.#refCounts) if (count > 0) numReferenced++;
    const [numFree, numCached] = [this.#freeList.length, this.#cached.numEvictable];
    invariant(
      numFree + numCached + numReferenced === this.numAllocatableBlocks,
      () =>
        `free ${numFree} + cached ${numCached} + referenced ${numReferenced} ≠ total − 1 = ${this.numAllocatableBlocks}`,
    );
  }
}
