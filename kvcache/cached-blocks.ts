import type { BlockHash } from "./hash-chain.ts";
import type { BlockId } from "./ids.ts";
import { invariant } from "./invariant.ts";

/**
 * Blocks whose content has a name: which block holds what, and which of them nobody references. Those keep their content
 * until their memory is needed; the one that was given up longest ago goes first.
 */
export class CachedBlocks {
  readonly #blocks = new Map<BlockHash, BlockId>();
  readonly #hashes = new Map<BlockId, BlockHash>();
  /** Unreferenced ones, the next to evict first. */
  readonly #evictable = new Set<BlockId>();

  get numEvictable(): number {
    return this.#evictable.size;
  }

  find(hash: BlockHash): BlockId | undefined {
    return this.#blocks.get(hash);
  }

  has(block: BlockId): boolean {
    return this.#hashes.has(block);
  }

  /** Names a referenced block's content. Where another block holds the same, that one stays the cached one. */
  add(block: BlockId, hash: BlockHash): void {
    if (this.#blocks.has(hash)) return;
    invariant(!this.#hashes.has(block), () => `block ${block} is cached under another hash`);
    this.#blocks.set(hash, block);
    this.#hashes.set(block, hash);
  }

  /** Forgets the name of a referenced block's content, if it has one. */
  remove(block: BlockId): void {
    const hash = this.#hashes.get(block);
    if (hash === undefined) return;
    this.#hashes.delete(block);
    this.#blocks.delete(hash);
  }

  /** Nobody references the block any more. False where its content has no name: then it is simply free. */
  release(block: BlockId): boolean {
    if (!this.#hashes.has(block)) return false;
    this.#evictable.add(block);
    return true;
  }

  /** Someone references the block again. False where it was not an unreferenced cached one. */
  revive(block: BlockId): boolean {
    return this.#evictable.delete(block);
  }

  /** Gives up the content that has been without references for longest, for its block. */
  evict(): BlockId | undefined {
    const [block] = this.#evictable;
    if (block === undefined) return undefined;
    this.#evictable.delete(block);
    this.remove(block);
    return block;
  }

  /** @throws InvariantError unless hashes and blocks match one to one, and just the unreferenced ones can be evicted. */
  checkIntegrity(refCount: (block: BlockId) => number): void {
    invariant(this.#blocks.size === this.#hashes.size, "hashes and cached blocks differ in number");
    for (const [block, hash] of this.#hashes) {
      invariant(this.#blocks.get(hash) === block, () => `the hash of block ${block} names another block`);
      const isEvictable = this.#evictable.has(block);
      const count = refCount(block);
      invariant(
        isEvictable === (count === 0),
        () => `cached block ${block} has ${count} references, but is ${isEvictable ? "" : "not "}to be evicted`,
      );
    }
    for (const block of this.#evictable) invariant(this.#hashes.has(block), () => `block ${block} has no hash`);
  }
}
