import { getHeapStatistics } from "node:v8";
import type { BufferPool } from "../kernels/index.ts";
import type { BlockManager } from "../kvcache/block-manager.ts";
import { SchedulerError } from "../scheduler/errors.ts";
import type { CommittedSequence, ScheduledSequence, SchedulerOutput } from "../scheduler/output.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import type { Sequence } from "../scheduler/sequence.ts";
import type { EngineClient, EngineInfo, EngineMemory, EngineOutput, EngineRequest, StepStats } from "./client.ts";
import { EngineDeadError, EngineRequestError } from "./errors.ts";
import { decodeOnHost, type Verification } from "./host-step.ts";
import { OutputStream } from "./output-stream.ts";
import { checkRequest } from "./request-check.ts";
import type { ResidentLoop } from "./resident/resident-loop.ts";
import type { ModelRunner } from "./runner/model-runner.ts";
import type { TreePolicy } from "./speculative/budget/tree-policy.ts";
import type { Proposer } from "./speculative/proposer.ts";
import { type SequenceOfStep, type VerifiedSequence, verifiedLane } from "./step.ts";
import { observedStep, type StepTimes, stepStats } from "./step-stats.ts";

export interface EngineParts {
  readonly info: EngineInfo;
  readonly runner: ModelRunner;
  readonly blocks: BlockManager;
  readonly proposer: Proposer;
  readonly tokenBudget: number;
  /** Nodes of one draft tree, root included; 1 with a proposer that never proposes. */
  readonly treeNodes: number;
  /** How much is speculated. */
  readonly policy: TreePolicy;
  /** Run steady decoding on the device: where the proposer can draft there, and where nothing is drafted. */
  readonly residentDrafting?: ResidentLoop;
  readonly residentPlain?: ResidentLoop;
  /** Steps that may be submitted before the first one's tokens are read, where they run on the device. */
  readonly stepsInFlight: number;
  /** The ledger of everything on the device. */
  readonly buffers: Pick<BufferPool, "totalBytes" | "numBuffers">;
  /** Frees the device and everything on it. */
  readonly dispose: () => void;
}

interface Entry {
  readonly request: EngineRequest;
  readonly sequence: Sequence;
  readonly stream: OutputStream;
  readonly arrivalMs: number;
  /** Set by the sequence's first step. */
  queueMs?: number;
}

/** A step whose results are not committed yet. */
interface StepInFlight {
  readonly output: SchedulerOutput;
  readonly startMs: number;
  /** Steps before it whose results were not known when it was submitted. */
  readonly numAhead: number;
  /** What it runs in, where that is the device. */
  readonly loop?: ResidentLoop;
  readonly verification: Promise<Verification>;
}

/** The engine in this process: one loop that schedules, proposes, verifies and commits, while there is work. */
export class Engine implements EngineClient {
  readonly info: EngineInfo;
  readonly #parts: EngineParts;
  readonly #scheduler: Scheduler;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<(stats: StepStats) => void>();
  /** In order. Several only where all of them run on the device. */
  readonly #inFlight: StepInFlight[] = [];
  #lastStepEndMs = 0;
  #loop: Promise<void> | undefined;
  #death: EngineDeadError | undefined;

  constructor(parts: EngineParts) {
    const { info, blocks, tokenBudget, treeNodes } = parts;
    this.info = info;
    this.#parts = parts;
    this.#scheduler = new Scheduler({
      ...{ blockManager: blocks, tokenBudget },
      ...{ maxNumSeqs: info.maxNumSeqs, maxModelLen: info.maxModelLen, maxTreeNodes: treeNodes },
    });
  }

  /** The sequence is queued before this returns: iterate the result, or abort `signal`. */
  generate(request: EngineRequest, signal?: AbortSignal): AsyncIterable<EngineOutput> {
    if (this.#death !== undefined) throw this.#death;
    const sequence = this.#enqueue(request);
    const stream = new OutputStream(() => this.#abort(request.id));
    const { cacheSalt, prediction } = request;
    this.#entries.set(request.id, { request, sequence, stream, arrivalMs: performance.now() });
    this.#parts.proposer.begin(request.id, sequence.tokenIds, {
      ...(cacheSalt === undefined ? {} : { cacheSalt }),
      ...(prediction ? { prediction } : {}),
    });
    if (signal?.aborted) this.#abort(request.id);
    else signal?.addEventListener("abort", () => this.#abort(request.id), { once: true });
    this.#loop ??= this.#run();
    return stream;
  }

  onStep(listener: (stats: StepStats) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load() {
    if (this.#death !== undefined) throw this.#death;
    return this.#loadNow();
  }

  get memory(): EngineMemory {
    const { totalBytes, numBuffers } = this.#parts.buffers;
    return { gpuBytes: totalBytes, numGpuBuffers: numBuffers, heapBytes: getHeapStatistics().used_heap_size };
  }

  #loadNow() {
    const { numWaiting, numRunning } = this.#scheduler;
    return { numWaiting, numRunning, kvUsage: this.#parts.blocks.usage };
  }

  /** Ends every sequence with "abort" and frees the device. */
  async close(): Promise<void> {
    if (this.#death === undefined) {
      this.#death = new EngineDeadError("the engine is closed");
      for (const id of [...this.#entries.keys()]) this.#abort(id);
    }
    await this.#loop;
    this.#parts.proposer.close();
    this.#parts.dispose();
  }

  /** @throws InvariantError when queues, block tables or reference counts disagree. */
  checkIntegrity(): void {
    this.#scheduler.checkIntegrity();
  }

  async #run(): Promise<void> {
    try {
      // Callers of the same turn get into the first step together.
      await Promise.resolve();
      while (this.#scheduler.hasWork() || this.#inFlight.length > 0) await this.#step();
    } catch (error) {
      this.#die(error);
    } finally {
      this.#loop = undefined;
    }
  }

  /** Gives the device as many steps as may be in flight, then takes in the oldest. */
  async #step(): Promise<void> {
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#inFlight.push(next);
    const [step] = this.#inFlight;
    if (step === undefined) throw new Error("invariant: there is work, but nothing could be scheduled");
    const { sequences: found, ...parts } = await step.verification;
    const verifiedMs = performance.now();
    this.#inFlight.shift();
    const verified = this.#settle(found);
    const { sequences } = this.#scheduler.commit(
      step.output,
      verified.map(({ result }) => result),
    );
    for (const sequence of sequences) this.#emit(sequence, verified);
    if (this.#inFlight.length === 0) step.loop?.end();
    this.#report(step, verified, sequences, { ...parts, verifiedMs });
  }

  /** The next step to submit, if there is one that need not wait for those in flight. */
  #next(): StepInFlight | undefined {
    const numAhead = this.#inFlight.length;
    if (numAhead >= this.#parts.stepsInFlight) return undefined;
    const startMs = performance.now();
    const latest = this.#inFlight.at(-1);
    return latest === undefined ? this.#first(startMs) : this.#ahead(latest, numAhead, startMs);
  }

  #first(startMs: number): StepInFlight | undefined {
    const { policy, residentDrafting, residentPlain } = this.#parts;
    const output = this.#scheduler.schedule((numSequences) => policy.limits(numSequences));
    if (output.sequences.length === 0) return undefined;
    for (const entry of output.sequences.map((scheduled) => this.#entryOf(scheduled))) {
      entry.queueMs ??= startMs - entry.arrivalMs;
    }
    const sequences = output.sequences.map((scheduled) => this.#withEntry(scheduled));
    const loop = output.limits.numLookaheadNodes === 0 ? residentPlain : residentDrafting;
    if (loop?.start(output, sequences)) {
      return { ...{ output, startMs, numAhead: 0, loop }, verification: this.#decodeThere(loop, output) };
    }
    return { ...{ output, startMs, numAhead: 0 }, verification: decodeOnHost(this.#parts, output, sequences) };
  }

  /** One more of the same, as long as the policy wants the same. */
  #ahead({ output: { limits, sequences }, loop }: StepInFlight, numAhead: number, startMs: number) {
    const wanted = this.#parts.policy.limits(sequences.length);
    const isSame =
      wanted.numLookaheadNodes === limits.numLookaheadNodes && wanted.maxDraftDepth === limits.maxDraftDepth;
    const reserved = isSame ? loop?.reserveAhead(numAhead) : undefined;
    const output = reserved && this.#scheduler.scheduleAhead(reserved);
    if (loop === undefined || output === undefined) return undefined;
    return { output, startMs, numAhead, loop, verification: this.#decodeThere(loop, output) };
  }

  /** A step that runs on the device from drafting to commit. It is submitted when this returns. */
  #decodeThere(resident: ResidentLoop, output: SchedulerOutput): Promise<Verification> {
    const step = resident.submit(this.#inFlight.length);
    const verification = step.then(({ lanes, times }): Verification => {
      const sequences = output.sequences.flatMap(({ sequence: { id } }, i) => {
        const lane = lanes[i];
        return lane ? verifiedLane(id, lane) : [];
      });
      return times ? { sequences, draftMs: times.draftMs, pass: times } : { sequences, draftMs: 0 };
    });
    // It is awaited later, or never: after the failure of a step before it.
    verification.catch(() => {});
    return verification;
  }

  /** Leaves out sequences that ended meanwhile; ends those whose logits were not numbers, and those alone. */
  #settle(verified: readonly VerifiedSequence[]): VerifiedSequence[] {
    return verified.filter(({ failed, result: { id } }) => {
      if (!this.#entries.has(id)) return false;
      if (failed) {
        this.#scheduler.fail(id);
        this.#end(id, { ...NOTHING, finishReason: "error", error: "the model gave logits that are not numbers" });
      }
      return !failed;
    });
  }

  #emit(committed: CommittedSequence, verified: readonly VerifiedSequence[]): void {
    const { id, emittedTokenIds: tokenIds, numAccepted, finishReason } = committed;
    const { tree, logprobs } = verified.find(({ result }) => result.id === id) ?? {};
    const { queueMs, sequence } = this.#entries.get(id) ?? {};
    const output = {
      ...{ tokenIds, numAccepted, numDraft: (tree?.tokenIds.length ?? 1) - 1 },
      ...(logprobs ? { logprobs: logprobs.slice(0, tokenIds.length) } : {}),
      ...(queueMs === undefined ? {} : { queueMs }),
      ...(sequence?.numCachedTokens === undefined ? {} : { numCachedTokens: sequence.numCachedTokens }),
    };
    this.#parts.proposer.observe(id, tokenIds);
    if (finishReason !== undefined) this.#end(id, { ...output, finishReason });
    else this.#entries.get(id)?.stream.push(output);
  }

  #abort(id: string): void {
    if (!this.#entries.has(id)) return;
    this.#scheduler.abort(id);
    this.#end(id, { ...NOTHING, finishReason: "abort" });
  }

  #end(id: string, output: EngineOutput): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    this.#parts.proposer.end(id);
    entry.stream.push(output);
  }

  #die(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#death = new EngineDeadError(reason, { cause });
    for (const id of [...this.#entries.keys()]) this.#end(id, { ...NOTHING, finishReason: "error", error: reason });
  }

  #enqueue(request: EngineRequest): Sequence {
    checkRequest(request, this.info);
    const { id, promptTokenIds, outputTokenIds = [], cacheSalt = "", params } = request;
    const { maxTokens, stopTokenIds } = params;
    try {
      return this.#scheduler.add({ id, promptTokenIds, outputTokenIds, maxTokens, stopTokenIds, cacheSalt });
    } catch (error) {
      if (error instanceof SchedulerError) throw new EngineRequestError(error.code, error.message);
      throw error;
    }
  }

  #entryOf({ sequence: { id } }: ScheduledSequence): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new Error(`invariant: scheduled sequence ${id} is unknown to the engine`);
    return entry;
  }

  #withEntry(scheduled: ScheduledSequence): SequenceOfStep {
    const { sequence } = scheduled;
    const { params, choice } = this.#entryOf(scheduled).request;
    return { scheduled, sequence, params, choice, blockTable: this.#parts.blocks.blockTable(sequence.id) };
  }

  /** Steps may overlap: a step's time is what it added to the time of the one before it. */
  #report(
    step: StepInFlight,
    verified: readonly VerifiedSequence[],
    committed: readonly CommittedSequence[],
    times: Pick<StepTimes, "draftMs" | "pass" | "verifiedMs">,
  ): void {
    const { output, startMs, numAhead, loop } = step;
    const endMs = performance.now();
    const begunMs = Math.max(startMs, this.#lastStepEndMs);
    this.#lastStepEndMs = endMs;
    const { policy, stepsInFlight } = this.#parts;
    const { draftMs } = times;
    const overlaps = loop === undefined || stepsInFlight === 1 || numAhead > 0;
    policy.observe(
      observedStep(output, verified, { onDevice: loop !== undefined, overlaps, draftMs, stepMs: endMs - begunMs }),
    );
    if (this.#listeners.size === 0) return;
    const stats = {
      ...{ ...this.#loadNow(), ...stepStats(output, verified, committed, { ...times, begunMs, endMs }) },
      ...(policy.state ? { speculation: policy.state } : {}),
    };
    for (const listener of this.#listeners) listener(stats);
  }
}

const NOTHING = { tokenIds: [], numAccepted: 0, numDraft: 0 } as const;
