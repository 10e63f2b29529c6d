import { BlockManager } from "../../kvcache/block-manager.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import { SchedulerError } from "../../scheduler/errors.ts";
import type { SchedulerOutput, StepResult, TreeLimits } from "../../scheduler/output.ts";
import { Scheduler, type SchedulerOptions } from "../../scheduler/scheduler.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import { Random } from "../support/random.ts";
import { CacheLedger } from "./cache-ledger.ts";
import type { Coverage } from "./coverage.ts";
import { decodePlainly, FakeModel, VOCAB_SIZE } from "./fake-model.ts";
import { checkPlan, checkPlanAhead, expect, type Planned } from "./plan-check.ts";
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

/** What a prompt begins with: nothing in common with others, a system prompt, the text before it (a next turn), or its prompt. */
export type Beginning = "own" | "system" | "turn" | "again";

export interface NewSequence {
  readonly beginning: Beginning;
  readonly cacheSalt: string;
  /** What follows the beginning; nothing does after "again", so that all of a prompt may be cached. */
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly stopTokenIds: readonly number[];
  /** Share of the output that was generated before, as in a replay, 0…1. */
  readonly replayed: number;
  readonly priority: number;
  readonly caller: string;
  /** Planned steps after which it is aborted, whatever became of it: its deadline. */
  readonly numStepsLeft: number;
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

/** What is under test; replaced by parts with a seeded bug. */
export interface Parts {
  readonly createBlocks: (numBlocks: number, prefixSecret: Uint8Array | undefined) => BlockManager;
  readonly createScheduler: (options: SchedulerOptions) => Scheduler;
}

export const ORIGINAL_PARTS: Parts = {
  createBlocks: (numBlocks, prefixSecret) => new BlockManager(numBlocks, prefixSecret),
  createScheduler: (options) => new Scheduler(options),
};

/** What must come out of a sequence, and what came so far. */
interface Expectation {
  readonly sequence: Sequence;
  readonly outputTokenIds: readonly number[];
  readonly finishReason: "stop" | "length";
  readonly priority: number;
  readonly arrival: number;
  /** Of the world's steps. */
  readonly deadline: number;
  numEmitted: number;
}

const PREFIX_SECRET = Uint8Array.of(1, 2, 3);
/** Ends inside a block. */
const SYSTEM_PROMPT = Array.from({ length: 40 }, (_, i) => (7 * i) % VOCAB_SIZE);

/** A scheduler over a fake model, checked after every step against plain decoding and the rules of the plan. */
export class World {
  readonly blocks: BlockManager;
  readonly scheduler: Scheduler;
  readonly #model: FakeModel;
  readonly #config: WorldConfig;
  readonly #coverage: Coverage;
  /** Sequences that have not ended, in order of arrival. */
  readonly #live = new Map<string, Expectation>();
  readonly #inFlight: StepInFlight[] = [];
  /** Known tokens as the device has them while steps are in flight: also those that the scheduler does not know yet. */
  readonly #lanes = new Map<string, number[]>();
  /** What the latest sequence was to become. */
  #lastText: readonly number[] = [];
  #lastPrompt: readonly number[] = [];
  readonly #cacheLedger: CacheLedger;
  readonly #rankCheck = new RankCheck();
  #numAdded = 0;
  /** The clock of deadlines. */
  #numSteps = 0;

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

  add({ beginning, prompt: ownPrompt, replayed, numStepsLeft, ...request }: NewSequence): void {
    const arrival = this.#numAdded++;
    const id = `seq-${arrival}`;
    const { maxTokens, stopTokenIds, cacheSalt, priority } = request;
    const { maxSequenceLen } = this.scheduler;
    const prompt =
      beginning === "again" ? this.#lastBlocks(ownPrompt) : [...this.#beginningOf(beginning), ...ownPrompt];
    const fits = prompt.length < maxSequenceLen;
    const plain = fits ? decodePlainly(prompt, { maxTokens, stopTokenIds, maxSequenceLen }) : undefined;
    const numReplayed = Math.floor(replayed * (plain?.outputTokenIds.length ?? 0) * 0.999);
    const outputTokenIds = plain?.outputTokenIds.slice(0, numReplayed) ?? [];
    try {
      const sequence = this.scheduler.add({ ...request, id, promptTokenIds: prompt, outputTokenIds });
      expect(plain !== undefined, () => `${id}: ${prompt.length} tokens were let in, ${maxSequenceLen} fit`);
      if (plain !== undefined) {
        this.#cacheLedger.add(id, cacheSalt);
        const deadline = this.#numSteps + numStepsLeft;
        this.#live.set(id, { sequence, ...plain, priority, arrival, deadline, numEmitted: numReplayed });
        this.#lastPrompt = prompt;
        this.#lastText = [...prompt, ...plain.outputTokenIds];
      }
      if (numReplayed > 0) this.#coverage.replayed++;
    } catch (error) {
      if (!(error instanceof SchedulerError) || fits) throw error;
      this.#coverage.refused++;
    }
  }

  /** The whole blocks of the latest prompt; `otherwise` where there are none. */
  #lastBlocks(otherwise: readonly number[]): readonly number[] {
    const whole = this.#lastPrompt.slice(0, this.#lastPrompt.length - (this.#lastPrompt.length % BLOCK_SIZE));
    return whole.length > 0 ? whole : otherwise;
  }

  #beginningOf(beginning: Beginning): readonly number[] {
    if (beginning === "own") return [];
    return beginning === "system" ? SYSTEM_PROMPT : this.#lastText;
  }

  /** Aborts a live sequence, chosen by `pick` in 0…1. */
  abort(pick: number): void {
    const id = [...this.#live.keys()][Math.floor(pick * this.#live.size * 0.999)];
    if (id !== undefined) this.#abort(id);
  }

  #abort(id: string): void {
    this.#live.delete(id);
    expect(this.scheduler.abort(id), () => `${id} could not be aborted`);
    expect(!this.scheduler.abort(id), () => `${id} was aborted twice`);
  }

  /** A step has been planned: time passes, and whose deadline it is ends, with the step in flight. */
  #tick(): void {
    this.#numSteps++;
    for (const [id, { deadline }] of this.#live) {
      if (deadline > this.#numSteps) continue;
      this.#abort(id);
      this.#coverage.expired++;
    }
  }

  /** Plans a step: from what is known where none is in flight, else one more ahead, if the scheduler has it. */
  submit(seed: number): void {
    const [first] = this.#inFlight;
    if (first === undefined) this.#submitFirst(seed);
    else this.#submitAhead(seed, first.plan);
    this.#tick();
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
    expect(this.#live.size === 0, () => `${[...this.#live.keys()]} never ended`);
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
    const live = [...this.#live.values()].map(({ sequence }) => sequence);
    return { blocks, scheduler, live, maxTreeNodes, tokenBudget: this.#tokenBudget };
  }

  get #tokenBudget(): number {
    return this.#config.maxNumSeqs + this.#config.numExtraRows;
  }

  /** Every other step has bounds of its own for its trees, also none at all. */
  #limitsOf(seed: number): TreeLimits | undefined {
    if (seed % 2 === 0) return undefined;
    const bits = Math.abs(seed >> 1);
    return { numLookaheadNodes: bits % this.#config.maxTreeNodes, maxDraftDepth: (bits >> 4) % 4 };
  }

  #submitFirst(seed: number): void {
    const numPreemptionsBefore = this.scheduler.numPreemptions;
    this.#cacheLedger.beforePlan([...this.#live.values()]);
    this.#rankCheck.beforePlan([...this.#live.values()]);
    const limits = this.#limitsOf(seed);
    const plan = this.scheduler.schedule(limits && (() => limits));
    checkPlan(plan, this.#planned);
    this.#coverage.displaced += this.#rankCheck.checkPlan(plan, [...this.#live.values()]);
    const { numHits, numResumed } = this.#cacheLedger.checkPlan(plan);
    this.#coverage.prefixHits += numHits;
    this.#coverage.resumed += numResumed;
    this.#inFlight.push({ plan, seed, ahead: false });
    this.#coverage.preemptions += this.scheduler.numPreemptions - numPreemptionsBefore;
    this.#coverage.steps++;
  }

  #submitAhead(seed: number, { sequences }: SchedulerOutput): void {
    const most = (pick: (limits: TreeLimits) => number) => Math.max(...sequences.map(pick));
    const plan = this.scheduler.scheduleAhead({
      numLookaheadNodes: most(({ numLookaheadNodes }) => numLookaheadNodes),
      maxDraftDepth: most(({ maxDraftDepth }) => maxDraftDepth),
    });
    if (plan === undefined) return;
    checkPlanAhead(plan, this.#planned);
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
    for (const { id, emittedTokenIds, numAccepted, finishReason } of this.scheduler.commit(plan, results).sequences) {
      const expected = this.#live.get(id);
      if (expected === undefined) throw new Error(`${id} emitted after its end`);
      expect(emittedTokenIds.length > 0, () => `${id} emitted nothing`);
      expect(numAccepted <= emittedTokenIds.length, () => `${id}: more accepted than emitted`);
      this.#checkEmitted(id, expected, emittedTokenIds);
      this.#checkEnd(id, expected, finishReason);
      this.#coverage.accepted += numAccepted;
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

  #checkEmitted(id: string, expected: Expectation, emitted: readonly number[]): void {
    const wanted = expected.outputTokenIds.slice(expected.numEmitted, expected.numEmitted + emitted.length);
    expect(
      `${wanted}` === `${emitted}`,
      () => `${id} emitted ${emitted} after ${expected.numEmitted}, plain decoding ${wanted}`,
    );
    expected.numEmitted += emitted.length;
    expect(
      expected.sequence.numOutputTokens === expected.numEmitted,
      () => `${id}: ${expected.sequence.numOutputTokens} tokens known, ${expected.numEmitted} emitted`,
    );
  }

  #checkEnd(id: string, expected: Expectation, finishReason: "stop" | "length" | undefined): void {
    const atEnd = expected.numEmitted === expected.outputTokenIds.length;
    const wanted = atEnd ? expected.finishReason : undefined;
    expect(finishReason === wanted, () => `${id}: finish reason ${finishReason}, expected ${wanted}`);
    if (finishReason === undefined) return;
    this.#live.delete(id);
    if (this.#inFlight.length > 0) this.#coverage.endedBeforeLater++;
    if (finishReason === "stop") this.#coverage.stopped++;
    else this.#coverage.atLength++;
  }
}
