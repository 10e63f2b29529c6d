import type { BlockManager } from "../kvcache/block-manager.ts";
import { BLOCK_SIZE, numBlocksFor } from "../kvcache/ids.ts";
import { invariant } from "../kvcache/invariant.ts";
import { checkAdmissible } from "./admissible.ts";
import { SchedulerError } from "./errors.ts";
import { checkSchedulerIntegrity } from "./integrity.ts";
import type {
  ChooseLimits,
  CommitResult,
  CommittedSequence,
  ScheduledSequence,
  SchedulerOutput,
  StepResult,
  TreeLimits,
} from "./output.ts";
import {
  assignRows,
  goesOn,
  largestTrees,
  planAhead,
  planKnownTokens,
  reserveAhead,
  reserveLookahead,
} from "./plan.ts";
import { type Sequence, type SequenceRequest, SequenceState } from "./sequence.ts";
import { appendRun } from "./verified-run.ts";

export interface SchedulerOptions {
  readonly blockManager: BlockManager;
  /** Most sequences in the batch. */
  readonly maxNumSeqs: number;
  /** Rows a step, draft nodes included; at least maxNumSeqs, so that every decode has its row. */
  readonly tokenBudget: number;
  /** Tokens of prompt + output that the model can hold. */
  readonly maxModelLen: number;
  /** Nodes of one draft tree, root included; 1 is plain decoding. */
  readonly maxTreeNodes: number;
}

/**
 * Decides what each step computes. There are no prefill and decode phases: a sequence's computed tokens catch up with
 * its known ones, and the step that reaches the last of them samples the next. First come, first served: running
 * sequences all arrived before waiting ones, and who loses its blocks is the latest to have arrived, so the oldest
 * sequence advances in every step and each is served in the end.
 */
export class Scheduler {
  /** Tokens of prompt + output that one sequence may hold: bounded by the model and by the cache. */
  readonly maxSequenceLen: number;
  readonly #options: SchedulerOptions;
  readonly #blocks: BlockManager;
  /** Known sequences; an ended one stays until the steps that it is part of have ended. */
  readonly #sequences = new Map<string, SequenceState>();
  /** Both in order of arrival, and every running sequence arrived before every waiting one. */
  readonly #running: SequenceState[] = [];
  readonly #waiting: SequenceState[] = [];
  /** Plans whose steps have not ended, in order; blocks of their sequences may still be written. */
  readonly #inFlight: SchedulerOutput[] = [];
  #numArrivals = 0;
  #numSteps = 0;
  #numPreemptions = 0;

  constructor(options: SchedulerOptions) {
    const { blockManager, maxNumSeqs, tokenBudget, maxModelLen, maxTreeNodes } = options;
    invariant(maxNumSeqs >= 1 && maxTreeNodes >= 1, "maxNumSeqs and maxTreeNodes are at least 1");
    invariant(
      tokenBudget >= maxNumSeqs,
      `a budget of ${tokenBudget} rows has no row for each of ${maxNumSeqs} decodes`,
    );
    this.#options = options;
    this.#blocks = blockManager;
    this.maxSequenceLen = Math.min(maxModelLen, blockManager.numAllocatableBlocks * BLOCK_SIZE);
  }

  /** Longest that a block table can become: a sequence of full length with its lookahead slots. */
  get maxBlocksPerSequence(): number {
    const maxNumSlots = this.maxSequenceLen + this.#options.maxTreeNodes - 1;
    return Math.min(numBlocksFor(maxNumSlots), this.#blocks.numAllocatableBlocks);
  }

  /** Sequences without a place in the batch, preempted ones included. */
  get numWaiting(): number {
    return this.#waiting.length;
  }

  get numRunning(): number {
    return this.#running.length;
  }

  /** Preemptions so far. */
  get numPreemptions(): number {
    return this.#numPreemptions;
  }

  hasWork(): boolean {
    return this.#running.length + this.#waiting.length > 0;
  }

  /**
   * Queues a sequence. Where model or cache hold less than prompt + maxTokens it ends early, with "length".
   * @throws SchedulerError when it can never be served: empty prompt, no room for one token, id in use.
   */
  add(request: SequenceRequest): Sequence {
    const { maxSequenceLen } = this;
    const sequence = new SequenceState(request, this.#numArrivals, maxSequenceLen, (tokenIds) =>
      this.#blocks.hashChain(tokenIds, request.cacheSalt),
    );
    const { id, numTokens } = sequence;
    if (this.#sequences.has(id)) {
      const numbers = { numTokens, maxSequenceLen };
      throw new SchedulerError("duplicate_id", `a sequence with id ${id} is in flight`, numbers);
    }
    checkAdmissible(request, maxSequenceLen);
    invariant(sequence.maxDraftDepth >= 0, () => `${id}: nothing to generate, maxTokens is ${request.maxTokens}`);
    this.#numArrivals++;
    this.#sequences.set(id, sequence);
    this.#waiting.push(sequence);
    return sequence;
  }

  /**
   * Drops a sequence: nothing more is emitted for it. Its blocks are free at once or, if it is part of planned steps,
   * when the last of them ends. False when no live sequence has this id.
   */
  abort(id: string): boolean {
    const sequence = this.#sequences.get(id);
    if (sequence === undefined || sequence.status === "finished") return false;
    remove(sequence.status === "running" ? this.#running : this.#waiting, sequence);
    sequence.finish("abort");
    this.#release(sequence);
    return true;
  }

  /** As `abort`, for a sequence whose K/V is not to be trusted: the prefix cache forgets it. */
  fail(id: string): void {
    if (this.#blocks.has(id)) this.#blocks.distrust(id);
    this.abort(id);
  }

  /**
   * Plans a step from what is known, with none in flight. Blocks go first to running sequences, then to newcomers; rows
   * and blocks that are left, to drafts.
   * @param choose by default trees as large as they may be
   */
  schedule(choose: ChooseLimits = () => largestTrees(this.#options.maxTreeNodes)): SchedulerOutput {
    invariant(this.#inFlight.length === 0, "the step before has not been committed");
    const preemptedIds = this.#reserveKnownTokens();
    const admitted = preemptedIds.length === 0 ? this.#admit() : [];
    const { tokenBudget, maxTreeNodes } = this.#options;
    const rows = assignRows(this.#running, tokenBudget);
    const numTokens = sum(rows);
    const plans = this.#running
      .map((sequence, i) => planKnownTokens(sequence, rows[i] ?? 0))
      .filter((plan) => plan.numTokens > 0);
    const limits = choose(plans.filter(({ needsSample }) => needsSample).length);
    invariant(limits.numLookaheadNodes < maxTreeNodes, "trees are larger than block tables may be");
    const sequences = reserveLookahead(plans, this.#blocks, { numRows: tokenBudget - numTokens, limits });
    return this.#begin(sequences, limits, admitted, preemptedIds);
  }

  /**
   * Plans one more decode of the latest plan's sequences before it is known what the steps in flight emit: 1 to
   * maxDraftDepth + 1 tokens each, as long as all of them keep to `limits`. Slots are reserved for the most that can be.
   * Undefined where the batch has changed or is about to, and where model or cache might have no room: then the steps in
   * flight have to end first. What was reserved goes back with them.
   */
  scheduleAhead(limits: TreeLimits): SchedulerOutput | undefined {
    const { tokenBudget, maxNumSeqs } = this.#options;
    const running = this.#running;
    const numAhead = this.#inFlight.length;
    const latest = this.#inFlight.at(-1)?.sequences ?? [];
    const someoneMayJoin = this.#waiting.length > 0 && running.length < maxNumSeqs;
    if (someoneMayJoin || latest.length !== running.length || !latest.every((one) => goesOn(one, numAhead))) {
      return undefined;
    }
    const plans = running.map((sequence) => planAhead(sequence, numAhead, limits));
    const hasRoom =
      plans.length * (1 + limits.numLookaheadNodes) <= tokenBudget &&
      plans.every(({ sequence }) => reserveAhead(sequence, numAhead, limits, this.#blocks, this.maxSequenceLen));
    return hasRoom ? this.#begin(plans, limits, [], []) : undefined;
  }

  /**
   * Takes in the oldest step in flight: tokens advance; blocks that no other step in flight may write are given back where
   * they were for lookahead or their sequence has ended. `results` holds one entry for each sequence with `needsSample`
   * that has not ended; others are ignored.
   */
  commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    invariant(output === this.#inFlight[0], () => `step ${output.stepId} is not the oldest in flight`);
    this.#inFlight.shift();
    const runs = new Map(results.map((run) => [run.id, run]));
    const sequences: CommittedSequence[] = [];
    for (const scheduled of output.sequences) {
      const sequence = this.#known(scheduled);
      if (sequence.status === "finished") {
        this.#release(sequence);
      } else if (scheduled.needsSample) {
        const run = runs.get(sequence.id);
        invariant(run !== undefined, () => `no result for ${sequence.id}`);
        const committed = appendRun(sequence, scheduled, run);
        sequences.push(committed);
        this.#advance(sequence, sequence.numTokens - 1);
        if (committed.finishReason !== undefined) this.#finish(sequence, committed.finishReason);
      } else {
        this.#advance(sequence, scheduled.startPosition + scheduled.numTokens);
      }
    }
    return { sequences };
  }

  /**
   * Ends the oldest step in flight, which failed, and all that build on it: as if they had never been planned, but for
   * aborts meanwhile. The next one computes the same.
   */
  discard(output: SchedulerOutput): void {
    invariant(output === this.#inFlight[0], () => `step ${output.stepId} is not the oldest in flight`);
    this.#inFlight.length = 0;
    for (const scheduled of output.sequences) {
      const sequence = this.#known(scheduled);
      if (sequence.status === "finished") this.#release(sequence);
      else this.#advance(sequence, sequence.numComputedTokens);
    }
  }

  /** @throws InvariantError naming what is broken, in the queues or in the cache. */
  checkIntegrity(): void {
    this.#blocks.checkIntegrity();
    checkSchedulerIntegrity({
      blocks: this.#blocks,
      running: this.#running,
      waiting: this.#waiting,
      known: [...this.#sequences.values()],
      inFlight: this.#inFlight,
      maxNumSeqs: this.#options.maxNumSeqs,
    });
  }

  /** Blocks for all known tokens of running sequences; while they do not suffice, the latest arrival is preempted. */
  #reserveKnownTokens(): string[] {
    const preemptedIds: string[] = [];
    for (const sequence of [...this.#running]) {
      while (sequence.status === "running" && !this.#blocks.ensure(sequence.id, sequence.numTokens))
        preemptedIds.push(this.#preemptLatest());
    }
    return preemptedIds;
  }

  /** Preemption by recompute: blocks are given up, tokens are kept. What the prefix cache keeps until then is not computed again. */
  #preemptLatest(): string {
    const victim = this.#running.pop();
    invariant(victim !== undefined && this.#running.length > 0, "the oldest sequence alone does not fit in the cache");
    this.#blocks.free(victim.id);
    victim.numComputedTokens = 0;
    victim.status = "preempted";
    this.#waiting.unshift(victim);
    this.#numPreemptions++;
    return victim.id;
  }

  /**
   * Lets waiting sequences in, in order, while there are places, rows, and blocks for all their known tokens: new ones, and
   * those that the prefix cache has. One block stays spare for every running sequence, lest a newcomer is preempted as soon as
   * one of them grows. Returns those that had no place before.
   */
  #admit(): readonly Sequence[] {
    const { tokenBudget, maxNumSeqs } = this.#options;
    const admitted: Sequence[] = [];
    let numRowsLeft = tokenBudget - sum(this.#running.map((sequence) => sequence.numPendingTokens));
    while (numRowsLeft > 0 && this.#running.length < maxNumSeqs) {
      const [next] = this.#waiting;
      if (!next || !this.#blocks.admit(next.id, next.hashChain, next.numTokens, this.#running.length)) break;
      this.#waiting.shift();
      next.numComputedTokens = this.#blocks.numComputedTokens(next.id);
      next.status = "running";
      this.#running.push(next);
      numRowsLeft -= next.numPendingTokens;
      if (next.numCachedTokens !== undefined) continue;
      next.numCachedTokens = Math.min(next.numComputedTokens, next.numPromptTokens);
      admitted.push(next);
    }
    return admitted;
  }

  #begin(
    sequences: readonly ScheduledSequence[],
    limits: TreeLimits,
    admitted: readonly Sequence[],
    preemptedIds: readonly string[],
  ): SchedulerOutput {
    const numTokens = sum(sequences.map((scheduled) => scheduled.numTokens));
    const numLookaheadNodes = sum(sequences.map((scheduled) => scheduled.numLookaheadNodes));
    const output = {
      ...{ stepId: this.#numSteps++, sequences, numTokens, limits },
      ...{ numLookaheadNodes, admitted, preemptedIds },
    };
    this.#inFlight.push(output);
    return output;
  }

  #isInFlight(sequence: Sequence): boolean {
    return this.#inFlight.some(({ sequences }) => sequences.some((scheduled) => scheduled.sequence === sequence));
  }

  #known({ sequence: { id } }: ScheduledSequence): SequenceState {
    const sequence = this.#sequences.get(id);
    invariant(sequence !== undefined, () => `scheduled sequence ${id} is unknown`);
    return sequence;
  }

  #advance(sequence: SequenceState, numComputedTokens: number): void {
    sequence.numComputedTokens = numComputedTokens;
    this.#blocks.commit(sequence.id, numComputedTokens);
    if (!this.#isInFlight(sequence)) this.#blocks.trim(sequence.id, sequence.numTokens);
  }

  #finish(sequence: SequenceState, reason: "stop" | "length"): void {
    remove(this.#running, sequence);
    sequence.finish(reason);
    this.#release(sequence);
  }

  /** Gives up an ended sequence, unless steps in flight may still write its blocks: then the last of them does. */
  #release(sequence: SequenceState): void {
    const { id } = sequence;
    if (this.#isInFlight(sequence)) return;
    if (this.#blocks.has(id)) this.#blocks.free(id);
    this.#sequences.delete(id);
  }
}

function remove(queue: SequenceState[], sequence: SequenceState): void {
  const index = queue.indexOf(sequence);
  invariant(index >= 0, () => `${sequence.id} is ${sequence.status}, but not in that queue`);
  queue.splice(index, 1);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
