import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockManager } from "../../kvcache/block-manager.ts";
import { BlockPool } from "../../kvcache/block-pool.ts";
import { type BlockHash, HashChain } from "../../kvcache/hash-chain.ts";
import { BLOCK_SIZE, type BlockId, type SlotId } from "../../kvcache/ids.ts";
import type { ChooseLimits, CommitResult, SchedulerOutput, StepResult, TreeLimits } from "../../scheduler/output.ts";
import { Scheduler, type SchedulerOptions } from "../../scheduler/scheduler.ts";
import type { Sequence, SequenceRequest } from "../../scheduler/sequence.ts";
import { noCoverage } from "./coverage.ts";
import { apply, operations, worldConfig } from "./operations.ts";
import { ORIGINAL_PARTS, type Parts, World } from "./world.ts";

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

/** Frees the blocks of an aborted sequence while the step may still write them. */
class UnfencedScheduler extends Scheduler {
  readonly #blocks: BlockManager;
  constructor(options: SchedulerOptions) {
    super(options);
    this.#blocks = options.blockManager;
  }
  override abort(id: string): boolean {
    const aborted = super.abort(id);
    if (this.#blocks.has(id)) this.#blocks.free(id);
    return aborted;
  }
}

/** Emits the whole accepted run, past the token that ended the sequence. */
class OverrunningScheduler extends Scheduler {
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const { sequences } = super.commit(output, results);
    const runs = new Map(results.map((run) => [run.id, run.tokenIds]));
    return { sequences: sequences.map((one) => ({ ...one, emittedTokenIds: runs.get(one.id) ?? [] })) };
  }
}

/** Leaves the latest sequence out of every other plan's results: its tokens are sampled, then lost. */
class ForgetfulScheduler extends Scheduler {
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const { sequences } = super.commit(output, results);
    return { sequences: output.stepId % 2 === 0 ? sequences : sequences.slice(0, -1) };
  }
}

/** Takes a failed step for one that computed its chunk. */
class CredulousScheduler extends Scheduler {
  override discard(output: SchedulerOutput): void {
    const results = output.sequences.map(({ sequence: { id } }) => ({ id, tokenIds: [0], numAccepted: 0 }));
    this.commit(output, results);
  }
}

/** Preempted sequences still count tokens as computed whose K/V is gone. */
class StaleScheduler extends Scheduler {
  readonly #added = new Map<string, Sequence>();
  override add(request: SequenceRequest): Sequence {
    const sequence = super.add(request);
    this.#added.set(request.id, sequence);
    return sequence;
  }
  override schedule(choose?: ChooseLimits): SchedulerOutput {
    const output = super.schedule(choose);
    for (const id of output.preemptedIds) {
      const sequence = this.#added.get(id);
      if (sequence !== undefined) Object.assign(sequence, { numComputedTokens: sequence.numTokens - 1 });
    }
    return output;
  }
}

/** Gives blocks back as if no later step were in flight. */
class HastyScheduler extends Scheduler {
  readonly #blocks: BlockManager;
  constructor(options: SchedulerOptions) {
    super(options);
    this.#blocks = options.blockManager;
  }
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const committed = super.commit(output, results);
    for (const { sequence } of output.sequences) {
      if (sequence.status === "running") this.#blocks.trim(sequence.id, sequence.numTokens);
    }
    return committed;
  }
}

/** Gives up ended sequences while later steps that hold them are in flight. */
class ImpatientScheduler extends Scheduler {
  readonly #blocks: BlockManager;
  constructor(options: SchedulerOptions) {
    super(options);
    this.#blocks = options.blockManager;
  }
  override commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    const committed = super.commit(output, results);
    for (const { id, finishReason } of committed.sequences) {
      if (finishReason !== undefined && this.#blocks.has(id)) this.#blocks.free(id);
    }
    return committed;
  }
}

/** Takes it that steps in flight emit one token each. */
class OptimisticScheduler extends Scheduler {
  override scheduleAhead(limits: TreeLimits): SchedulerOutput | undefined {
    const output = super.scheduleAhead({ ...limits, maxDraftDepth: 0 });
    if (output === undefined) return undefined;
    for (const scheduled of output.sequences) Object.assign(scheduled, limits);
    return output;
  }
}

/** The most important one gives way, and comes in last. */
class InvertedScheduler extends Scheduler {
  override add(request: SequenceRequest): Sequence {
    return super.add({ ...request, priority: -(request.priority ?? 0) });
  }
}

/** Of one priority, who came first gives way. */
class RudeScheduler extends Scheduler {
  override add(request: SequenceRequest): Sequence {
    const sequence = super.add(request);
    return Object.assign(sequence, { arrival: 1e6 - sequence.arrival });
  }
}

class OverspendingScheduler extends Scheduler {
  constructor(options: SchedulerOptions) {
    super({ ...options, tokenBudget: options.tokenBudget + 1 });
  }
}

/** Gives lookahead blocks back before the step has used them. */
class OverreachingScheduler extends Scheduler {
  readonly #blocks: BlockManager;
  constructor(options: SchedulerOptions) {
    super(options);
    this.#blocks = options.blockManager;
  }
  override schedule(choose?: ChooseLimits): SchedulerOutput {
    const output = super.schedule(choose);
    for (const { sequence, rootPosition } of output.sequences) this.#blocks.trim(sequence.id, rootPosition + 1);
    return output;
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

const BUGS: Readonly<Record<string, Partial<Parts>>> = {
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
  "a hit does not count as a reference": { createBlocks: pool(UncountingPool) },
  "a block is found after it was handed out anew": { createBlocks: pool(NostalgicPool) },
  "computed tokens are stale after a preemption": { createScheduler: (options) => new StaleScheduler(options) },
  "the budget of rows is overrun": { createScheduler: (options) => new OverspendingScheduler(options) },
  "lookahead slots lie beyond the table": { createScheduler: (options) => new OverreachingScheduler(options) },
  "blocks are trimmed that a later step may write": { createScheduler: (options) => new HastyScheduler(options) },
  "blocks are freed that a later step may write": { createScheduler: (options) => new ImpatientScheduler(options) },
  "steps ahead have room for one token a step": { createScheduler: (options) => new OptimisticScheduler(options) },
  "blocks are freed before the step ends": { createScheduler: (options) => new UnfencedScheduler(options) },
  "tokens are emitted after the end": { createScheduler: (options) => new OverrunningScheduler(options) },
  "sampled tokens are lost": { createScheduler: (options) => new ForgetfulScheduler(options) },
  "important sequences give way": { createScheduler: (options) => new InvertedScheduler(options) },
  "who came first gives way": { createScheduler: (options) => new RudeScheduler(options) },
  "a failed step counts": { createScheduler: (options) => new CredulousScheduler(options) },
};

test.each(Object.entries(BUGS))("the model-based test notices: %s", (_, parts) => {
  const property = fc.property(worldConfig, operations, (config, ops) => {
    const world = new World(config, noCoverage(), { ...ORIGINAL_PARTS, ...parts });
    for (const op of ops) apply(world, op);
    world.drain(0);
  });
  expect(fc.check(property, { numRuns: 500, endOnFailure: true }).failed).toBe(true);
});
