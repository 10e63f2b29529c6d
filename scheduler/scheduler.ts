import type { BlockManager } from "../kvcache/block-manager.ts";
import { BLOCK_SIZE } from "../kvcache/ids.ts";
import { invariant } from "../kvcache/invariant.ts";
import { checkAdmissible } from "./admissible.ts";
import { Batch, type BatchChanges, type Newcomers, NO_CHANGES } from "./batch.ts";
import { SchedulerError } from "./errors.ts";
import { checkSchedulerIntegrity } from "./integrity.ts";
import {
  type ChooseLimits,
  type CommitResult,
  type CommittedSequence,
  numTreeSlots,
  type ScheduledSequence,
  type SchedulerOutput,
  type StepResult,
  type TreeLimits,
} from "./output.ts";
import { assignRows, largestTrees, planAhead, planKnownTokens, reserveLookahead, reserveUniform } from "./plan.ts";
import { PlansInFlight } from "./plans-in-flight.ts";
import { type Sequence, type SequenceFinishReason, type SequenceRequest, SequenceState } from "./sequence.ts";
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
 * its known ones, and the step that reaches the last of them samples the next. Every step serves each stream that decodes;
 * prompts are read beside them in chunks. Who joins the batch, whose prompt is read first and who gives way goes by
 * priority, fairness between callers, and arrival (`FairQueue`, `Batch`).
 */
export class Scheduler {
  /** Tokens of prompt + output that one sequence may hold: bounded by the model and by the cache. */
  readonly maxSequenceLen: number;
  readonly #options: SchedulerOptions;
  readonly #blocks: BlockManager;
  /** Known sequences; an ended one stays until the steps that it is part of have ended. */
  readonly #sequences = new Map<string, SequenceState>();
  readonly #batch: Batch;
  readonly #inFlight = new PlansInFlight();
  #numArrivals = 0;

  constructor(options: SchedulerOptions) {
    const { blockManager, maxNumSeqs, tokenBudget, maxModelLen, maxTreeNodes } = options;
    invariant(maxNumSeqs >= 1 && maxTreeNodes >= 1, "maxNumSeqs and maxTreeNodes are at least 1");
    invariant(
      tokenBudget >= maxNumSeqs,
      `a budget of ${tokenBudget} rows has no row for each of ${maxNumSeqs} decodes`,
    );
    this.#options = options;
    this.#blocks = blockManager;
    this.#batch = new Batch(blockManager, maxNumSeqs);
    this.maxSequenceLen = Math.min(maxModelLen, blockManager.numAllocatableBlocks * BLOCK_SIZE);
  }

  /** Sequences without a place in the batch, preempted ones included. */
  get numWaiting(): number {
    return this.#batch.numWaiting;
  }

  get numRunning(): number {
    return this.#batch.running.length;
  }

  /** Preemptions so far. */
  get numPreemptions(): number {
    return this.#batch.numPreemptions;
  }

  get newcomers(): Newcomers {
    return this.#batch.newcomers;
  }

  hasWork(): boolean {
    return this.numRunning + this.numWaiting > 0;
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
      const message = `the id ${id} is in use, by a sequence in progress or one that ended while steps still write its blocks; take another id`;
      throw new SchedulerError("duplicate_id", message, numbers);
    }
    checkAdmissible(request, maxSequenceLen);
    invariant(sequence.maxDraftDepth >= 0, () => `${id}: nothing to generate, maxTokens is ${request.maxTokens}`);
    this.#numArrivals++;
    this.#sequences.set(id, sequence);
    this.#batch.add(sequence);
    return sequence;
  }

  /**
   * Drops a sequence: nothing more is emitted for it. Its blocks are free at once or, if it is part of planned steps,
   * when the last of them ends. False when no live sequence has this id.
   */
  abort(id: string): boolean {
    const sequence = this.#sequences.get(id);
    if (sequence === undefined || sequence.status === "finished") return false;
    this.#finish(sequence, "abort");
    return true;
  }

  /** As `abort`, for a sequence whose K/V is not to be trusted: the prefix cache forgets it. */
  fail(id: string): void {
    if (this.#blocks.has(id)) this.#blocks.distrust(id);
    this.abort(id);
  }

  /**
   * Drops every sequence whose deadline has come, as `abort` does. To be called ahead of each plan, so that no sequence costs a step
   * after its deadline.
   * @returns those that were dropped
   */
  expire(nowMs: number): readonly Sequence[] {
    const due = [...this.#sequences.values()].filter(
      ({ status, deadlineMs }) => status !== "finished" && deadlineMs <= nowMs,
    );
    for (const sequence of due) this.#finish(sequence, "deadline");
    return due;
  }

  /**
   * Plans a step from what is known, with none in flight. Blocks go first to running sequences, then to newcomers; rows
   * and blocks that are left, to drafts.
   * @param choose by default trees as large as they may be
   * @param holdsNewcomers they wait for a later step, unless nothing is decoded or this one computes a prompt anyway
   */
  schedule(
    choose: ChooseLimits = () => largestTrees(this.#options.maxTreeNodes),
    holdsNewcomers = false,
  ): SchedulerOutput {
    invariant(this.#inFlight.length === 0, "the step before has not been committed");
    const { tokenBudget, maxTreeNodes } = this.#options;
    const changes = this.#batch.update(tokenBudget, holdsNewcomers);
    const rows = assignRows(this.#batch.inTurn(), tokenBudget);
    const plans = this.#batch.running
      .map((sequence) => planKnownTokens(sequence, rows.get(sequence) ?? 0))
      .filter((plan) => plan.numTokens > 0);
    const isDecode = plans.every(({ numTokens, needsSample }) => numTokens === 1 && needsSample);
    const sampling = plans.filter(({ needsSample }) => needsSample).map(({ sequence }) => sequence);
    const { uniform, ...limits } = choose(sampling, isDecode);
    invariant(numTreeSlots(limits) < maxTreeNodes, "trees are larger than block tables may be");
    const numRows = tokenBudget - sum(plans.map(({ numTokens }) => numTokens));
    const budget = { numRows, limits };
    const alike = uniform && isDecode && this.#reserveUniform(plans, limits, plans.length);
    return this.#begin(alike || reserveLookahead(plans, this.#blocks, budget), limits, changes);
  }

  /**
   * Plans one more decode of those who go on before it is known what the steps in flight emit: 1 to maxDraftDepth + 1 tokens each. Slots
   * are reserved for the most that can be, and trees have one size, which may be another one than before. Newcomers wait. Undefined where
   * no one goes on or someone has to begin, and where model or cache might have no room: then the steps in flight have to end first. What
   * was reserved goes back with them.
   * @param choose for those who go on, in order of joining; undefined where the steps in flight are to end first
   * @param numLanes that the step has rows for, those who have ended included; at least those who go on
   */
  scheduleAhead(
    choose: (goingOn: readonly Sequence[]) => TreeLimits | undefined,
    numLanes = 1,
  ): SchedulerOutput | undefined {
    const goingOn = this.#goingOn() ?? [];
    const limits = goingOn.length > 0 ? choose(goingOn) : undefined;
    if (limits === undefined) return undefined;
    const plans = goingOn.map((sequence) => planAhead(sequence, this.#inFlight.numSampling(sequence)));
    const sized = this.#reserveUniform(plans, limits, Math.max(numLanes, plans.length));
    return sized && this.#begin(sized, limits, NO_CHANGES);
  }

  /**
   * Takes in the oldest step in flight: tokens advance; blocks that no other step in flight may write are given back where
   * they were for lookahead or their sequence has ended. `results` holds one entry for each sequence with `needsSample`
   * that has not ended; others are ignored.
   */
  commit(output: SchedulerOutput, results: readonly StepResult[]): CommitResult {
    this.#inFlight.end(output);
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
        this.#batch.charge(sequence, committed.emittedTokenIds.length);
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
    this.#inFlight.endAll(output);
    for (const scheduled of output.sequences) {
      const sequence = this.#known(scheduled);
      if (sequence.status === "finished") this.#release(sequence);
      else this.#advance(sequence, sequence.numComputedTokens);
    }
  }

  /** @throws InvariantError naming what is broken, in the queues or in the cache. */
  checkIntegrity(): void {
    this.#blocks.checkIntegrity();
    this.#batch.checkIntegrity();
    checkSchedulerIntegrity({
      blocks: this.#blocks,
      running: this.#batch.running,
      waiting: this.#batch.waiting(),
      known: [...this.#sequences.values()],
      inFlight: this.#inFlight.all(),
    });
  }

  /** Of those that run, all but the ones that end by their length before the next step. Undefined where one does not decode in the latest. */
  #goingOn(): readonly SequenceState[] | undefined {
    const latest = new Set(
      this.#inFlight.latest?.sequences.filter(({ needsSample }) => needsSample).map(({ sequence }) => sequence),
    );
    const goingOn = this.#batch.running.filter(
      (sequence) => sequence.numTokens + this.#inFlight.numSampling(sequence) < sequence.maxNumTokens,
    );
    return goingOn.every((sequence) => latest.has(sequence)) ? goingOn : undefined;
  }

  /** Slots for whatever the steps in flight emit. @param numLanes that share the rows of the step */
  #reserveUniform(plans: readonly ScheduledSequence[], limits: TreeLimits, numLanes: number) {
    const mostNodes = Math.floor(this.#options.tokenBudget / numLanes) - 1;
    return reserveUniform(plans, limits, mostNodes, (sequence, bounds) => {
      const mostTokens = this.#inFlight.mostTokens(sequence);
      const fits = mostTokens + bounds.maxDraftDepth + 1 <= this.maxSequenceLen;
      return fits && this.#blocks.ensure(sequence.id, mostTokens + numTreeSlots(bounds));
    });
  }

  #begin(sequences: readonly ScheduledSequence[], limits: TreeLimits, changes: BatchChanges): SchedulerOutput {
    const numTokens = sum(sequences.map((scheduled) => scheduled.numTokens));
    const numLookaheadNodes = sum(sequences.map((scheduled) => scheduled.numLookaheadNodes));
    return this.#inFlight.begin({ sequences, numTokens, limits, numLookaheadNodes, ...changes });
  }

  #known({ sequence: { id } }: ScheduledSequence): SequenceState {
    const sequence = this.#sequences.get(id);
    invariant(sequence !== undefined, () => `scheduled sequence ${id} is unknown`);
    return sequence;
  }

  #advance(sequence: SequenceState, numComputedTokens: number): void {
    sequence.numComputedTokens = numComputedTokens;
    this.#blocks.commit(sequence.id, numComputedTokens);
    if (!this.#inFlight.hold(sequence)) this.#blocks.trim(sequence.id, sequence.numTokens);
  }

  #finish(sequence: SequenceState, reason: SequenceFinishReason): void {
    this.#batch.remove(sequence);
    sequence.finish(reason);
    this.#release(sequence);
  }

  /** Gives up an ended sequence, unless steps in flight may still write its blocks: then the last of them does. */
  #release(sequence: SequenceState): void {
    const { id } = sequence;
    if (this.#inFlight.hold(sequence)) return;
    if (this.#blocks.has(id)) this.#blocks.free(id);
    this.#sequences.delete(id);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
