import type { BlockManager } from "../kvcache/block-manager.ts";
import type { SlotMove } from "../kvcache/ids.ts";
import { invariant } from "../kvcache/invariant.ts";
import { FairQueue } from "./fair-queue.ts";
import type { Sequence, SequenceState } from "./sequence.ts";

/** Who came into the batch and who had to leave it while a step was planned. */
export interface BatchChanges {
  /** For the first time. */
  readonly admitted: readonly Sequence[];
  readonly preemptedIds: readonly string[];
  /** The next newcomer has a place and no blocks, and no one is computing what it begins with. */
  readonly lacksBlocks: boolean;
  /** What newcomers take over from others' blocks. */
  readonly copies: readonly SlotMove[];
}

export const NO_CHANGES: BatchChanges = { admitted: [], preemptedIds: [], lacksBlocks: false, copies: [] };

/** Who waits for a place in the batch, preempted sequences among them. */
export interface Newcomers {
  /** As many as there are free places for. */
  readonly count: number;
  /** The first of them is more important than one that runs. */
  readonly isUrgent: boolean;
}

/**
 * The sequences that have places and blocks, and those that wait for them. Where there is not enough for all, the least
 * important gives way: the highest priority value, and of that the latest arrival. Whoever ranks first in the batch never
 * does, and so comes to its end.
 */
export class Batch {
  readonly #blocks: BlockManager;
  readonly #maxNumSeqs: number;
  readonly #queue = new FairQueue();
  /** In order of joining. */
  readonly #running: SequenceState[] = [];
  #numPreemptions = 0;

  constructor(blocks: BlockManager, maxNumSeqs: number) {
    this.#blocks = blocks;
    this.#maxNumSeqs = maxNumSeqs;
  }

  /** In order of joining. */
  get running(): readonly SequenceState[] {
    return this.#running;
  }

  get numWaiting(): number {
    return this.#queue.numWaiting;
  }

  get numPreemptions(): number {
    return this.#numPreemptions;
  }

  get newcomers(): Newcomers {
    const next = this.#queue.next();
    const count = Math.min(this.numWaiting, this.#maxNumSeqs - this.#running.length);
    return { count, isUrgent: next !== undefined && this.#isAboveLast(next) };
  }

  waiting(): readonly SequenceState[] {
    return this.#queue.waiting();
  }

  /** By whose turn it is to have rows. */
  inTurn(): readonly SequenceState[] {
    return [...this.#running].sort((a, b) => this.#queue.compare(a, b));
  }

  add(sequence: SequenceState): void {
    this.#queue.add(sequence);
  }

  /** An ended sequence leaves the batch or the queue. What it holds is the caller's to give back. */
  remove(sequence: SequenceState): void {
    const wasRunning = sequence.status === "running";
    if (wasRunning) this.#leave(sequence);
    this.#queue.remove(sequence, wasRunning);
  }

  /** A sequence of the batch has generated so many tokens. */
  charge(sequence: SequenceState, numTokens: number): void {
    this.#queue.charge(sequence, numTokens);
  }

  /**
   * Blocks for all known tokens of those that run; then, unless someone had to leave for that, newcomers, while there are
   * rows, places and blocks for all their known tokens.
   * @param holdsNewcomers they wait, unless no one runs or the step computes a prompt anyway
   */
  update(tokenBudget: number, holdsNewcomers: boolean): BatchChanges {
    const preemptedIds: string[] = [];
    for (const sequence of [...this.#running]) {
      while (sequence.status === "running" && !this.#blocks.ensure(sequence.id, sequence.numTokens)) {
        invariant(this.#running.length > 1, () => `${sequence.id} alone does not fit in the cache`);
        preemptedIds.push(this.#preemptLast());
      }
    }
    let lacksBlocks = preemptedIds.length > 0;
    const isDecoding = this.#running.length > 0 && this.#running.every((sequence) => sequence.numPendingTokens === 1);
    if (lacksBlocks || (holdsNewcomers && isDecoding)) return { admitted: [], preemptedIds, lacksBlocks, copies: [] };
    const admitted: Sequence[] = [];
    const copies: SlotMove[] = [];
    let next = this.#queue.next();
    while (next !== undefined && !preemptedIds.includes(next.id)) {
      const numRows = this.#running.reduce((sum, sequence) => sum + sequence.numPendingTokens, 0);
      if (numRows >= tokenBudget && !this.#isAboveLast(next)) break;
      if (!this.#makePlace(next, preemptedIds)) {
        const hasPlace = this.#running.length < this.#maxNumSeqs;
        lacksBlocks = hasPlace && !this.#blocks.isUnderWay(next.hashChain, next.numTokens);
        break;
      }
      // Good also where one of both gives way to the next newcomer: until the copies are made, no one writes its blocks.
      copies.push(...this.#blocks.adoptTail(next.id, next.numTokens - 1));
      if (this.#join(next)) admitted.push(next);
      next = this.#queue.next();
    }
    return { admitted, preemptedIds, lacksBlocks, copies };
  }

  /** @throws InvariantError naming the rule that is broken. */
  checkIntegrity(): void {
    const numRunning = this.#running.length;
    invariant(numRunning <= this.#maxNumSeqs, () => `${numRunning} sequences run, at most ${this.#maxNumSeqs} may`);
    for (const { id, status } of this.#running)
      invariant(status === "running", () => `${id} is ${status}, but in the batch`);
    for (const { id, status } of this.waiting())
      invariant(status === "waiting" || status === "preempted", () => `${id} is ${status}, but in the queue`);
    this.#queue.checkIntegrity(this.#running);
  }

  /**
   * Gets `next` its blocks. One block stays spare for every running sequence, lest a newcomer is preempted as soon as one of
   * them grows. Less important sequences give way; where another is about to compute what `next` begins with, it waits.
   */
  #makePlace(next: SequenceState, preemptedIds: string[]): boolean {
    const { id, hashChain, numTokens } = next;
    const running = this.#running;
    while (running.length >= this.#maxNumSeqs || !this.#blocks.admit(id, hashChain, numTokens, running.length)) {
      if (!this.#isAboveLast(next) || this.#blocks.isUnderWay(hashChain, numTokens)) return false;
      preemptedIds.push(this.#preemptLast());
    }
    return true;
  }

  /** @returns whether it had no place before */
  #join(sequence: SequenceState): boolean {
    sequence.numComputedTokens = this.#blocks.numComputedTokens(sequence.id);
    this.#queue.letIn(sequence);
    sequence.status = "running";
    this.#running.push(sequence);
    if (sequence.numCachedTokens !== undefined) return false;
    sequence.numCachedTokens = Math.min(sequence.numComputedTokens, sequence.numPromptTokens);
    return true;
  }

  /** Preemption by recompute: blocks are given up, tokens are kept. What the prefix cache keeps until then is not computed again. */
  #preemptLast(): string {
    const victim = this.#last();
    invariant(victim !== undefined, "no one is left who could give up blocks");
    this.#leave(victim);
    this.#blocks.free(victim.id);
    victim.numComputedTokens = 0;
    victim.status = "preempted";
    this.#queue.putBack(victim);
    this.#numPreemptions++;
    return victim.id;
  }

  /** The least important of those that run. */
  #last(): SequenceState | undefined {
    const [first, ...others] = this.#running;
    return first && others.reduce((last, sequence) => (isBehind(sequence, last) ? sequence : last), first);
  }

  /** Whether the least important of those that run has a higher priority value. */
  #isAboveLast({ priority }: SequenceState): boolean {
    const last = this.#last();
    return last !== undefined && priority < last.priority;
  }

  #leave(sequence: SequenceState): void {
    const index = this.#running.indexOf(sequence);
    invariant(index >= 0, () => `${sequence.id} is ${sequence.status}, but not in the batch`);
    this.#running.splice(index, 1);
  }
}

/** Whether `a` gives way before `b` does. */
function isBehind(a: SequenceState, b: SequenceState): boolean {
  return a.priority === b.priority ? a.arrival > b.arrival : a.priority > b.priority;
}
