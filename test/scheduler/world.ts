import type { BlockManager } from "../../kvcache/block-manager.ts";
import { SchedulerError } from "../../scheduler/errors.ts";
import {
  type ChosenLimits,
  numTreeSlots,
  type SchedulerOutput,
  type StepResult,
  type TreeLimits,
} from "../../scheduler/output.ts";
import type { Scheduler } from "../../scheduler/scheduler.ts";
import { Random } from "../support/random.ts";
import { CacheLedger } from "./cache-ledger.ts";
import type { Coverage } from "./coverage.ts";
import { decodePlainly, FakeModel } from "./fake-model.ts";
import { LiveSequences } from "./live-sequences.ts";
import { ORIGINAL_PARTS, type Parts } from "./parts.ts";
import { checkPlan, checkPlanAhead, expect, type Planned } from "./plan-check.ts";
import { type Beginning, Prompts } from "./prompts.ts";
import { RankCheck } from "./rank-check.ts";

export interface WorldConfig {
  readonly numBlocks: number;
  readonly maxNumSeqs: number;
  /** Rows a step beyond maxNumSeqs. */
  readonly numExtraRows: number;
  readonly maxModelLen: number;
  readonly maxTreeNodes: number;
  readonly prefixCache: boolean;
}

export interface NewSequence {
  readonly beginning: Beginning;
  readonly cacheSalt: string;
  /** What follows the beginning. */
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly stopTokenIds: readonly number[];
  /** Share of the output that was generated before, as in a replay, 0…1. */
  readonly replayed: number;
  readonly priority: number;
  readonly caller: string;
  /** From its arrival to its deadline, if it has one. */
  readonly timeoutMs?: number;
}

/** A planned step. Its rows run when it ends: as late as can be, when blocks that were given up too early are gone. */
interface StepInFlight {
  readonly plan: SchedulerOutput;
  readonly seed: number;
  /** Planned before the results of the step before it were known. */
  readonly ahead: boolean;
}

/** What befalls a step between its plan and its end. */
export interface StepIncidents {
  /** Sequences that are aborted, chosen as in `World.abort`. */
  readonly abortPicks: readonly number[];
  /** The step is discarded after its rows ran. */
  readonly fails: boolean;
}

const PREFIX_SECRET = Uint8Array.of(1, 2, 3);

/** A scheduler over a fake model, checked after every step against plain decoding and the rules of the plan. */
export class World {
  readonly blocks: BlockManager;
  readonly scheduler: Scheduler;
  readonly #model: FakeModel;
  readonly #config: WorldConfig;
  readonly #coverage: Coverage;
  readonly #live = new LiveSequences();
  readonly #inFlight: StepInFlight[] = [];
  /** Known tokens as the device has them while steps are in flight: also those that the scheduler does not know yet. */
  readonly #lanes = new Map<string, number[]>();
  readonly #prompts = new Prompts();
  readonly #cacheLedger: CacheLedger;
  readonly #rankCheck = new RankCheck();
  #numAdded = 0;
  /** The clock: a millisecond from plan to plan. */
  #nowMs = 0;

  constructor(config: WorldConfig, coverage: Coverage, { createBlocks, createScheduler }: Parts = ORIGINAL_PARTS) {
    this.#config = config;
    this.#coverage = coverage;
    this.blocks = createBlocks(config.numBlocks, config.prefixCache ? PREFIX_SECRET : undefined);
    this.scheduler = createScheduler({
      blockManager: this.blocks,
      maxNumSeqs: config.maxNumSeqs,
      tokenBudget: this.#tokenBudget,
      maxModelLen: config.maxModelLen,
      maxTreeNodes: config.maxTreeNodes,
    });
    this.#model = new FakeModel(this.blocks);
    this.#cacheLedger = new CacheLedger(config.prefixCache);
  }

  add({ beginning, prompt: ownPrompt, replayed, timeoutMs, ...request }: NewSequence): void {
    const arrival = this.#numAdded++;
    const id = `seq-${arrival}`;
    const { maxTokens, stopTokenIds, cacheSalt, priority } = request;
    const { maxSequenceLen } = this.scheduler;
    const prompt = this.#prompts.make(beginning, ownPrompt);
    const fits = prompt.length < maxSequenceLen;
    const plain = fits ? decodePlainly(prompt, { maxTokens, stopTokenIds, maxSequenceLen }) : undefined;
    const numReplayed = Math.floor(replayed * (plain?.outputTokenIds.length ?? 0) * 0.999);
    const outputTokenIds = plain?.outputTokenIds.slice(0, numReplayed) ?? [];
    const deadlineMs = this.#nowMs + (timeoutMs ?? Number.POSITIVE_INFINITY);
    const deadline = timeoutMs === undefined ? {} : { deadlineMs };
    try {
      const sequence = this.scheduler.add({ ...request, ...deadline, id, promptTokenIds: prompt, outputTokenIds });
      expect(plain !== undefined, () => `${id}: ${prompt.length} tokens were let in, ${maxSequenceLen} fit`);
      if (plain !== undefined) {
        this.#cacheLedger.add(id, cacheSalt);
        this.#live.add({ sequence, ...plain, priority, arrival, deadlineMs, numEmitted: numReplayed });
        this.#prompts.remember(prompt, plain.outputTokenIds);
      }
      if (numReplayed > 0) this.#coverage.replayed++;
    } catch (error) {
      if (!(error instanceof SchedulerError) || fits) throw error;
      this.#coverage.refused++;
    }
  }

  /** Aborts a live sequence, chosen by `pick` in 0…1. */
  abort(pick: number): void {
    const id = this.#live.ids()[Math.floor(pick * this.#live.size * 0.999)];
    if (id === undefined) return;
    this.#live.remove(id);
    expect(this.scheduler.abort(id), () => `${id} could not be aborted`);
    expect(!this.scheduler.abort(id), () => `${id} was aborted twice`);
  }

  /** Plans a step: from what is known where none is in flight, else one more ahead, if the scheduler has it. */
  submit(seed: number): void {
    this.#nowMs++;
    this.#expire();
    const [first] = this.#inFlight;
    if (first === undefined) this.#submitFirst(seed);
    else this.#submitAhead(seed, first.plan);
    this.scheduler.checkIntegrity();
  }

  /** Ends the oldest step in flight, if there is one: commits it, or discards it and those that build on it. */
  settle(fails: boolean): void {
    const step = this.#inFlight.shift();
    if (step === undefined) return;
    const results = this.#runModel(step);
    this.#coverage.abortedInFlight += step.plan.sequences.filter(
      ({ sequence }) => sequence.finishReason === "abort",
    ).length;
    if (fails) {
      this.#inFlight.length = 0;
      this.scheduler.discard(step.plan);
    } else this.#commit(step.plan, results);
    this.scheduler.checkIntegrity();
  }

  /** Ends what is in flight, then one step of its own, checked at its plan and at its end. */
  step(seed: number, { abortPicks, fails }: StepIncidents = { abortPicks: [], fails: false }): void {
    while (this.#inFlight.length > 0) this.settle(false);
    this.submit(seed);
    for (const pick of abortPicks) this.abort(pick);
    this.scheduler.checkIntegrity();
    this.settle(fails);
  }

  /** Steps until nothing is left. Who ranks first in the batch never leaves it, so this ends. */
  drain(seed: number): void {
    while (this.#inFlight.length > 0) this.settle(false);
    for (let i = 0; this.scheduler.hasWork(); i++) this.step(seed + i);
    expect(this.#live.size === 0, () => `${this.#live.ids()} never ended`);
    this.checkIdle();
  }

  checkIdle(): void {
    this.scheduler.checkIntegrity();
    const { numFreeBlocks, numAllocatableBlocks, usage } = this.blocks;
    expect(numFreeBlocks === numAllocatableBlocks && usage === 0, () => `idle, but ${usage} of the blocks are held`);
  }

  get #planned(): Planned {
    const { blocks, scheduler } = this;
    const { maxTreeNodes } = this.#config;
    const live = this.#live.all().map(({ sequence }) => sequence);
    return { blocks, scheduler, live, maxTreeNodes, tokenBudget: this.#tokenBudget };
  }

  get #tokenBudget(): number {
    return this.#config.maxNumSeqs + this.#config.numExtraRows;
  }

  /** Whose deadline has come ends, waiting or running, also with a step in flight; and no one else does. */
  #expire(): void {
    const due = this.#live.all().filter(({ deadlineMs }) => deadlineMs <= this.#nowMs);
    const statusBefore = due.map(({ sequence }) => sequence.status);
    const expired = this.scheduler.expire(this.#nowMs).map(({ id }) => id);
    const wanted = due.map(({ sequence }) => sequence.id);
    expect(`${expired}` === `${wanted}`, () => `at ${this.#nowMs} it is over for ${wanted}, not for ${expired}`);
    for (const [i, { sequence }] of due.entries()) {
      const { id, status, finishReason } = sequence;
      expect(status === "finished" && finishReason === "deadline", () => `${id} is ${status}, after its deadline`);
      this.#live.remove(id);
      const isHeld = this.#inFlight.some(({ plan }) => plan.sequences.some((one) => one.sequence === sequence));
      expect(this.blocks.has(id) === isHeld, () => `${id}: blocks held: ${!isHeld}, in a step in flight: ${isHeld}`);
      if (isHeld) this.#coverage.expiredInFlight++;
      else if (statusBefore[i] === "running") this.#coverage.expiredRunning++;
      else this.#coverage.expiredWaiting++;
    }
  }

  /** Every other step has bounds of its own for its trees, also none at all. */
  #limitsOf(seed: number): ChosenLimits | undefined {
    if (seed % 2 === 0) return undefined;
    const bits = Math.abs(seed >> 1);
    const size = { numLookaheadNodes: bits % this.#config.maxTreeNodes, maxDraftDepth: (bits >> 4) % 4 };
    // Trees that share their rows may have more nodes and levels than rows.
    const isShared = size.numLookaheadNodes > 0 && (bits >> 7) % 2 === 0;
    const shared = isShared ? { mostLookaheadNodes: this.#config.maxTreeNodes - 1 } : {};
    return { ...size, ...shared, uniform: (bits >> 6) % 2 === 0 };
  }

  #submitFirst(seed: number): void {
    const numPreemptionsBefore = this.scheduler.numPreemptions;
    this.#cacheLedger.beforePlan(this.#live.all());
    this.#rankCheck.beforePlan(this.#live.all());
    const limits = this.#limitsOf(seed);
    const holds = seed % 3 === 0;
    const { newcomers } = this.scheduler;
    const running = this.#live.all().filter(({ sequence }) => sequence.status === "running");
    const isDecoding =
      running.length > 0 && running.every(({ sequence: one }) => one.numTokens - one.numComputedTokens === 1);
    const plan = this.scheduler.schedule(limits && (() => limits), holds);
    if (holds && isDecoding) {
      expect(plan.admitted.length === 0, () => "newcomers were to wait");
      if (newcomers.count > 0) this.#coverage.held++;
    }
    if (plan.lacksBlocks) {
      const isWaiting = plan.preemptedIds.length > 0 || this.scheduler.newcomers.count > 0;
      expect(isWaiting, () => "blocks are said to be lacking, but no one waits for any");
      this.#coverage.lackedBlocks++;
    }
    if (checkPlan(plan, this.#planned, limits?.uniform ?? false)) this.#coverage.pastEnd++;
    this.#coverage.displaced += this.#rankCheck.checkPlan(plan, this.#live.all());
    const { numHits, numResumed, numTails } = this.#cacheLedger.checkPlan(plan);
    this.#model.copy(plan.copies);
    this.#coverage.prefixHits += numHits;
    this.#coverage.resumed += numResumed;
    this.#coverage.tailsCopied += numTails;
    this.#inFlight.push({ plan, seed, ahead: false });
    this.#coverage.preemptions += this.scheduler.numPreemptions - numPreemptionsBefore;
    this.#coverage.steps++;
  }

  /** Every other step has bounds of its own, else those of the first one. */
  #submitAhead(seed: number, { sequences }: SchedulerOutput): void {
    const most = (pick: (limits: TreeLimits) => number) => Math.max(...sequences.map(pick));
    const limits = this.#limitsOf(seed) ?? {
      numLookaheadNodes: most(({ numLookaheadNodes }) => numLookaheadNodes),
      maxDraftDepth: most(({ maxDraftDepth }) => maxDraftDepth),
      mostLookaheadNodes: most(numTreeSlots),
    };
    const plan = this.scheduler.scheduleAhead(() => limits);
    if (plan === undefined) return;
    const before = this.#inFlight.map((step) => step.plan);
    const [depth, depthBefore] = [plan, before.at(-1)].map((one) => one?.sequences[0]?.maxDraftDepth);
    if (depth !== depthBefore) this.#coverage.resizedAhead++;
    if (checkPlanAhead(plan, before, this.#planned) > 0) this.#coverage.aheadWithoutEnding++;
    if (plan.sequences.length < (before.at(-1)?.sequences.length ?? 0)) this.#coverage.aheadWithoutEnded++;
    if (this.scheduler.newcomers.count > 0) this.#coverage.heldAhead++;
    this.#inFlight.push({ plan, seed, ahead: true });
    this.#coverage.ahead++;
    this.#coverage.steps++;
  }

  #runModel({ plan, seed, ahead }: StepInFlight): StepResult[] {
    const random = new Random(seed);
    this.#model.beginStep();
    return plan.sequences.flatMap((scheduled) => {
      const { id, tokenIds } = scheduled.sequence;
      const known = ahead ? (this.#lanes.get(id) ?? []) : [...tokenIds];
      const result = ahead ? this.#model.decode(scheduled, known, random) : this.#model.run(scheduled, random);
      expect(scheduled.needsSample === (result !== undefined), () => `${id}: needsSample is wrong`);
      if (result === undefined) this.#coverage.chunkedPrefills++;
      this.#lanes.set(id, [...known, ...(result?.tokenIds ?? [])]);
      return result ?? [];
    });
  }

  #commit(plan: SchedulerOutput, results: readonly StepResult[]): void {
    for (const committed of this.scheduler.commit(plan, results).sequences) {
      this.#live.checkCommitted(committed);
      this.#coverage.accepted += committed.numAccepted;
      if (committed.finishReason === undefined) continue;
      if (this.#inFlight.length > 0) this.#coverage.endedBeforeLater++;
      if (committed.finishReason === "stop") this.#coverage.stopped++;
      else this.#coverage.atLength++;
    }
    this.#cacheLedger.afterCommit(plan);
    for (const { sequence } of plan.sequences.filter(
      (scheduled) => scheduled.needsSample && this.#live.has(scheduled.sequence.id),
    ))
      expect(
        sequence.numComputedTokens === sequence.numTokens - 1,
        () => `${sequence.id}: the root is not the only pending token`,
      );
  }
}
