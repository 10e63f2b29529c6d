import { getHeapStatistics } from "node:v8";
import { InvariantError, invariant } from "../kvcache/invariant.ts";
import { SchedulerError } from "../scheduler/errors.ts";
import {
  type CommittedSequence,
  isPlain,
  NO_TREES,
  type ScheduledSequence,
  type SchedulerOutput,
} from "../scheduler/output.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import type { Sequence } from "../scheduler/sequence.ts";
import type { EngineClient, EngineInfo, EngineMemory, EngineOutput, EngineRequest, StepStats } from "./client.ts";
import { decodeOnDevice } from "./device-step.ts";
import type { EngineParts } from "./engine-parts.ts";
import { EngineDeadError, EngineRequestError } from "./errors.ts";
import { catchUpOnHost, decodeOnHost, type Verification } from "./host-step.ts";
import { NOTHING } from "./output-stream.ts";
import { Readers } from "./readers.ts";
import { Regrouping } from "./regrouping.ts";
import { checkRequest } from "./request-check.ts";
import type { ResidentLoop } from "./resident/resident-loop.ts";
import type { SequenceOfStep, VerifiedSequence } from "./step.ts";
import { StepLoop } from "./step-loop.ts";
import { StepReports } from "./step-reports.ts";
import { meanContext } from "./step-stats.ts";

/** A step whose results are not committed yet. */
interface StepInFlight {
  readonly output: SchedulerOutput;
  readonly startMs: number;
  /** Steps of the device right before it, each submitted before the one before it had ended. */
  readonly numBefore: number;
  /** What it runs in, where that is the device. */
  readonly loop?: ResidentLoop;
  /** Sequences that it has rows for, idle lanes included. */
  readonly numLanes: number;
  /** It is a plain step in which the drafter computes what it has not seen yet. */
  readonly catchesUp: boolean;
  readonly verification: Promise<Verification>;
}

/** The engine in this process: one loop that schedules, proposes, verifies and commits, while there is work. */
export class Engine implements EngineClient {
  readonly info: EngineInfo;
  readonly #parts: EngineParts;
  readonly #scheduler: Scheduler;
  readonly #readers = new Readers();
  readonly #regrouping = new Regrouping();
  readonly #reports: StepReports;
  /** In order. Several only where all of them run on the device. */
  readonly #inFlight: StepInFlight[] = [];
  readonly #loop: StepLoop;
  #death: EngineDeadError | undefined;

  constructor(parts: EngineParts) {
    const { info, blocks, tokenBudget, treeNodes, policy, stepsInFlight } = parts;
    this.info = info;
    this.#parts = parts;
    this.#reports = new StepReports(policy, this.#regrouping, stepsInFlight);
    this.#scheduler = new Scheduler({
      ...{ blockManager: blocks, tokenBudget },
      ...{ maxNumSeqs: info.maxNumSeqs, maxModelLen: info.maxModelLen, maxTreeNodes: treeNodes },
    });
    this.#loop = new StepLoop({
      hasWork: () => this.#hasWork,
      step: () => this.#step(),
      settled: parts.settled,
      fail: (error) => this.#die(error),
    });
  }

  /** The sequence is queued before this returns: iterate the result, or abort `signal`. */
  generate(request: EngineRequest, signal?: AbortSignal): AsyncIterable<EngineOutput> {
    if (this.#death !== undefined) throw this.#death;
    const sequence = this.#enqueue(request);
    const stream = this.#readers.add(request, sequence, () => this.#abort(request.id));
    const { cacheSalt, prediction } = request;
    this.#parts.proposer.begin(request.id, sequence.tokenIds, {
      ...(cacheSalt === undefined ? {} : { cacheSalt }),
      ...(prediction ? { prediction } : {}),
    });
    if (signal?.aborted) this.#abort(request.id);
    else signal?.addEventListener("abort", () => this.#abort(request.id), { once: true });
    this.#loop.start();
    return stream;
  }

  /** Begins no step until `resume`: for those who share a device by turns. Resolves once nothing of this engine is under way there. @throws GpuError */
  async pause(): Promise<void> {
    await this.#loop.hold();
    this.#reports.flush();
  }

  /** What is measured does not count the time of the pause. */
  resume(): void {
    const ms = this.#loop.release();
    this.#reports.skip(ms);
    this.#regrouping.skip(ms);
  }

  onStep(listener: (stats: StepStats) => void): () => void {
    return this.#reports.listen(listener);
  }

  load() {
    if (this.#death !== undefined) throw this.#death;
    return this.#loadNow();
  }

  get memory(): EngineMemory {
    const { totalBytes, numBuffers } = this.#parts.ledger;
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
      for (const id of this.#readers.ids()) this.#abort(id);
    }
    await this.#loop.end();
    this.#parts.proposer.close();
    this.#parts.dispose();
  }

  /** @throws InvariantError when queues, block tables, reference counts, buffers, the drafter's tables or the readers' sequences disagree. */
  checkIntegrity(): void {
    this.#checkIntegrity(0);
  }

  /** @param numEnded sequences that the scheduler has ended, and whose readers do not know yet */
  #checkIntegrity(numEnded: number): void {
    this.#scheduler.checkIntegrity();
    this.#parts.ledger.checkIntegrity();
    const { numRunning, numWaiting } = this.#scheduler;
    const [numReaders, numSequences] = [this.#readers.size, numRunning + numWaiting + numEnded];
    invariant(numReaders === numSequences, () => `${numReaders} readers wait, for ${numSequences} sequences`);
    this.#parts.proposer.checkIntegrity?.(this.#readers.sequences());
  }

  get #hasWork(): boolean {
    return this.#scheduler.hasWork() || this.#inFlight.length > 0;
  }

  /** Ends what is overdue, gives the device as many steps as may be in flight, tells of the step before, then takes in the oldest. */
  async #step(): Promise<void> {
    for (const { id } of this.#scheduler.expire(performance.now())) {
      this.#end(id, { ...NOTHING, finishReason: "deadline" });
    }
    if (!this.#hasWork) return;
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#inFlight.push(next);
    this.#reports.flush();
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
    if (this.#parts.checkInvariants) {
      this.#checkIntegrity(sequences.filter(({ finishReason }) => finishReason !== undefined).length);
    }
    const byId = new Map(verified.map((one) => [one.result.id, one]));
    for (const sequence of sequences) this.#emit(sequence, byId.get(sequence.id) ?? {});
    if (this.#inFlight.length === 0) step.loop?.end();
    const { output, startMs, numBefore, loop, numLanes, catchesUp } = step;
    const [numBehind, onDevice] = [this.#inFlight.length, loop !== undefined];
    const times = { verifiedMs, ...parts };
    this.#reports.tell(
      { output, startMs, numBefore, numBehind, onDevice, numLanes, catchesUp, verified, committed: sequences, times },
      this.#loadNow(),
    );
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
    let catchesUp = false;
    const holds = this.#regrouping.holdsAtStart(this.#scheduler.newcomers, this.#scheduler.numRunning, startMs);
    const output = this.#scheduler.schedule((sampling, isDecode) => {
      const wanted = policy.limits(sampling.length, meanContext(sampling.map(({ numTokens }) => numTokens)));
      if (residentDrafting === undefined || isPlain(wanted)) return wanted;
      // Drafts of the host cost several times what the device's cost: no one waits for them while a prompt is computed, or while
      // the drafter has to see one that the prefix cache had.
      catchesUp = !isDecode || residentDrafting.canCatchUp(sampling);
      return catchesUp ? NO_TREES : { ...wanted, uniform: true };
    }, holds);
    if (output.sequences.length === 0) return undefined;
    this.#regrouping.begin(
      output.admitted.length,
      startMs,
      output.lacksBlocks ? this.#scheduler.numRunning : undefined,
    );
    this.#parts.runner.kv.commit(output.copies);
    for (const { sequence } of output.sequences) {
      const reader = this.#readers.get(sequence.id);
      reader.queueMs ??= startMs - reader.arrivalMs;
    }
    const sequences = output.sequences.map((scheduled) => this.#withReader(scheduled));
    const loop = isPlain(output.limits) ? residentPlain : residentDrafting;
    const step = { output, startMs, numBefore: 0, numLanes: sequences.length, catchesUp };
    if (catchesUp) return { ...step, verification: catchUpOnHost(this.#parts, sequences) };
    if (loop?.start(output, sequences, policy.shape))
      return { ...step, loop, verification: decodeOnDevice(loop, output, 0) };
    return { ...step, verification: decodeOnHost(this.#parts, output, sequences) };
  }

  /** One more of its kind for those who go on, as long as the policy wants that and it is no time for others to come in. */
  #ahead({ output: { limits }, loop, numBefore }: StepInFlight, numAhead: number, startMs: number) {
    const { newcomers, numRunning } = this.#scheduler;
    if (loop === undefined || !this.#regrouping.holds(newcomers, numRunning, startMs)) return undefined;
    const { numLanes } = loop;
    const output = this.#scheduler.scheduleAhead((goingOn) => {
      const keepsLanes = this.#regrouping.keepsIdle(numLanes - goingOn.length, numLanes, startMs);
      const wanted = keepsLanes ? this.#parts.policy.next(limits) : undefined;
      return wanted && loop.reserveAhead(numAhead, goingOn, wanted.maxDraftDepth) ? wanted : undefined;
    }, numLanes);
    if (output === undefined) return undefined;
    const verification = decodeOnDevice(loop, output, numAhead);
    return { output, startMs, numBefore: numBefore + 1, loop, numLanes, catchesUp: false, verification };
  }

  /** Leaves out sequences that ended meanwhile; ends those whose logits were not numbers, and those alone. */
  #settle(verified: readonly VerifiedSequence[]): VerifiedSequence[] {
    return verified.filter(({ failed, result: { id } }) => {
      if (!this.#readers.has(id)) return false;
      if (failed) {
        this.#scheduler.fail(id);
        this.#end(id, { ...NOTHING, finishReason: "error", error: "the model gave logits that are not numbers" });
      }
      return !failed;
    });
  }

  #emit(committed: CommittedSequence, verified: Partial<VerifiedSequence>): void {
    const { id, emittedTokenIds, finishReason } = committed;
    const { proposer } = this.#parts;
    proposer.observe(id, emittedTokenIds);
    if (finishReason !== undefined) proposer.end(id);
    this.#readers.emit(committed, verified);
  }

  #abort(id: string): void {
    if (!this.#readers.has(id)) return;
    this.#scheduler.abort(id);
    this.#end(id, { ...NOTHING, finishReason: "abort" });
  }

  #end(id: string, output: EngineOutput): void {
    this.#parts.proposer.end(id);
    this.#readers.end(id, output);
  }

  /** Scheduler and drafter are left as they are: whatever is wrong may be wrong there. */
  #die(cause: unknown): void {
    const message = cause instanceof Error ? cause.message : String(cause);
    const reason = cause instanceof InvariantError ? `an invariant is broken: ${message}` : message;
    this.#death = new EngineDeadError(reason, { cause });
    for (const id of this.#readers.ids()) this.#readers.end(id, { ...NOTHING, finishReason: "error", error: reason });
  }

  #enqueue(request: EngineRequest): Sequence {
    checkRequest(request, this.info);
    const { maxTokens, stopTokenIds } = request.params;
    const { timeoutMs } = request;
    const deadline = timeoutMs === undefined ? {} : { deadlineMs: performance.now() + timeoutMs };
    try {
      return this.#scheduler.add({ ...request, ...deadline, maxTokens, stopTokenIds });
    } catch (error) {
      if (error instanceof SchedulerError) throw new EngineRequestError(error.code, error.message);
      throw error;
    }
  }

  #withReader(scheduled: ScheduledSequence): SequenceOfStep {
    const { sequence } = scheduled;
    const { params, choice } = this.#readers.get(sequence.id).request;
    return { scheduled, sequence, params, choice, blockTable: this.#parts.blocks.blockTable(sequence.id) };
  }
}
