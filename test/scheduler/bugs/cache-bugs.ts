import { BlockManager } from "../../../kvcache/block-manager.ts";
import { BlockPool } from "../../../kvcache/block-pool.ts";
import { type BlockHash, HashChain } from "../../../kvcache/hash-chain.ts";
import { BLOCK_SIZE, type BlockId, type SlotId, type SlotMove } from "../../../kvcache/ids.ts";
import type { Parts } from "../parts.ts";

class LeakingPool extends BlockPool {
  override free(block: BlockId): void {
    if (block !== 3) super.free(block);
  }
}

class DoubleFreeingPool extends BlockPool {
  override free(block: BlockId): void {
    super.free(block);
    if (block === 3) super.free(block);
  }
}

/** Hands out a block that someone holds. */
class SharingPool extends BlockPool {
  #last: BlockId | undefined;
  override allocate(): BlockId | undefined {
    const shared = this.#last;
    this.#last = undefined;
    if (shared !== undefined && this.refCount(shared) > 0) {
      this.retain(shared);
      return shared;
    }
    this.#last = super.allocate();
    return this.#last;
  }
}

/** Rolls back one block too many: it holds final K/V. */
class OvertrimmingManager extends BlockManager {
  readonly #pool: BlockPool;
  constructor(numBlocks: number, prefixSecret: Uint8Array | undefined) {
    const pool = new BlockPool(numBlocks);
    super(pool, prefixSecret);
    this.#pool = pool;
  }
  override trim(seqId: string, numTokens: number): void {
    super.trim(seqId, numTokens);
    const needed = (this.blockTable(seqId) as BlockId[]).pop();
    if (needed !== undefined) this.#pool.free(needed);
  }
}

class UnreservingManager extends BlockManager {
  override ensure(seqId: string, numTokens: number): boolean {
    return super.ensure(seqId, Math.max(1, numTokens - 1));
  }
}

class OvercommittingManager extends BlockManager {
  override commit(seqId: string, numComputedTokens: number): void {
    super.commit(seqId, Math.min(numComputedTokens + 1, this.numSlots(seqId)));
  }
}

class SaltlessManager extends BlockManager {
  override hashChain(tokenIds: readonly number[]): HashChain | undefined {
    return super.hashChain(tokenIds, "");
  }
}

/** Names a block by its own tokens, whatever stands before them. */
class UnchainedHashes extends HashChain {
  override at(index: number): BlockHash | undefined {
    const own = this.tokenIds.slice(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE);
    return new HashChain(own, new Uint8Array(), "").at(0);
  }
}
class UnchainedManager extends BlockManager {
  override hashChain(tokenIds: readonly number[], salt: string): HashChain | undefined {
    return super.hashChain(tokenIds, salt) && new UnchainedHashes(tokenIds, new Uint8Array(), salt);
  }
}

/** Lets others find blocks as soon as their tokens are known, before there is K/V in them. */
class EagerManager extends BlockManager {
  readonly #pool: BlockPool;
  constructor(numBlocks: number, prefixSecret: Uint8Array | undefined) {
    const pool = new BlockPool(numBlocks);
    super(pool, prefixSecret);
    this.#pool = pool;
  }
  override admit(seqId: string, chain: HashChain | undefined, numTokens: number, numSpareBlocks: number): boolean {
    const admitted = super.admit(seqId, chain, numTokens, numSpareBlocks);
    for (const [index, block] of (admitted ? this.blockTable(seqId) : []).entries()) {
      const hash = chain?.at(index);
      if (hash !== undefined) this.#pool.publish(block, hash);
    }
    return admitted;
  }
}

/** Takes the last known token's K/V from the cache too, so that nothing is left to sample from. */
class GreedyAdopter extends BlockManager {
  override adopt(seqId: string, maxTokens: number): void {
    super.adopt(seqId, maxTokens + 1);
  }
}

/** Counts a tail as computed whose last slot is not copied. */
class CursoryManager extends BlockManager {
  override adoptTail(seqId: string, maxTokens: number): readonly SlotMove[] {
    return super.adoptTail(seqId, maxTokens).slice(0, -1);
  }
}

/** Does not count who takes a block from the cache. */
class UncountingPool extends BlockPool {
  override retain(block: BlockId): void {
    if (this.refCount(block) === 0) super.retain(block);
  }
}

/** Still finds what was in a block that has been handed out anew. */
class NostalgicPool extends BlockPool {
  readonly #published = new Map<BlockHash, BlockId>();
  override publish(block: BlockId, hash: BlockHash): void {
    super.publish(block, hash);
    this.#published.set(hash, block);
  }
  override find(hash: BlockHash): BlockId | undefined {
    const block = this.#published.get(hash);
    return super.find(hash) ?? (block !== undefined && this.refCount(block) > 0 ? block : undefined);
  }
}

/** Lookahead slots of the second block of a table lie in the first. */
class WrappingManager extends BlockManager {
  override slot(seqId: string, index: number): SlotId {
    return super.slot(seqId, index >= BLOCK_SIZE ? index - BLOCK_SIZE : index);
  }
}

const pool =
  (Pool: typeof BlockPool): Parts["createBlocks"] =>
  (numBlocks, prefixSecret) =>
    new BlockManager(new Pool(numBlocks), prefixSecret);

const manager =
  (Manager: new (numBlocks: number, prefixSecret: Uint8Array | undefined) => BlockManager): Parts["createBlocks"] =>
  (numBlocks, prefixSecret) =>
    new Manager(numBlocks, prefixSecret);

export const CACHE_BUGS: Readonly<Record<string, Partial<Parts>>> = {
  "a block is never given back": { createBlocks: pool(LeakingPool) },
  "a block is given back twice": { createBlocks: pool(DoubleFreeingPool) },
  "a held block is handed out": { createBlocks: pool(SharingPool) },
  "a block that is needed is trimmed": { createBlocks: manager(OvertrimmingManager) },
  "one slot too few is reserved": { createBlocks: manager(UnreservingManager) },
  "one token too many counts as computed": { createBlocks: manager(OvercommittingManager) },
  "slots of two positions coincide": { createBlocks: manager(WrappingManager) },
  "a prefix is shared across salts": { createBlocks: manager(SaltlessManager) },
  "a block is found whatever stands before it": { createBlocks: manager(UnchainedManager) },
  "a block is found before it is computed": { createBlocks: manager(EagerManager) },
  "nothing is left to compute after a hit": { createBlocks: manager(GreedyAdopter) },
  "a tail is not copied to its end": { createBlocks: manager(CursoryManager) },
  "a hit does not count as a reference": { createBlocks: pool(UncountingPool) },
  "a block is found after it was handed out anew": { createBlocks: pool(NostalgicPool) },
};
