import type { BlockId } from "./ids.ts";
import { invariant } from "./invariant.ts";

/**
 * The blocks of the K/V storage: which are free, and how often each of the others is referenced.
 * Last freed, first allocated. Block 0 is reserved: neither free nor referenced.
 */
export class BlockPool {
  /** Blocks in the storage, the reserved one included. */
  readonly numBlocks: number;
  /** u32 `[numBlocks]`: tables that hold the block; 0 is free. */
  readonly #refCounts: Uint32Array;
  /** Stack of free blocks, the next to allocate last. */
  readonly #freeList: BlockId[] = [];

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

  get numFreeBlocks(): number {
    return this.#freeList.length;
  }

  /** Takes a free block with reference count 1, or undefined when there is none. */
  allocate(): BlockId | undefined {
    const block = this.#freeList.pop();
    if (block !== undefined) this.#refCounts[block] = 1;
    return block;
  }

  /** One more holder of an allocated block. */
  retain(block: BlockId): void {
    const count = this.refCount(block);
    invariant(count > 0, () => `retain of free block ${block}`);
    this.#refCounts[block] = count + 1;
  }

  /** One holder less; without holders the block is free. */
  free(block: BlockId): void {
    const count = this.refCount(block);
    invariant(count > 0, () => `double free of block ${block}`);
    this.#refCounts[block] = count - 1;
    if (count === 1) this.#freeList.push(block);
  }

  /** Holders of a block; 0 is free. */
  refCount(block: BlockId): number {
    invariant(block !== 0, "block 0 is reserved");
    const count = this.#refCounts[block];
    invariant(count !== undefined, () => `block ${block} is outside the pool of ${this.numBlocks}`);
    return count;
  }

  /** @throws InvariantError unless free + referenced = total − 1, the free list has no duplicate, and none of it is held. */
  checkIntegrity(): void {
    invariant(this.#refCounts[0] === 0, "block 0 is referenced");
    const free = new Set<BlockId>();
    for (const block of this.#freeList) {
      invariant(!free.has(block), () => `block ${block} is twice in the free list`);
      invariant(this.refCount(block) === 0, () => `free block ${block} is referenced`);
      free.add(block);
    }
    const numReferenced = this.#refCounts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
    invariant(
      free.size + numReferenced === this.numAllocatableBlocks,
      () => `free ${free.size} + referenced ${numReferenced} ≠ total − 1 = ${this.numAllocatableBlocks}`,
    );
  }
}
