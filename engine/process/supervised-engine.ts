import type {
  EngineClient,
  EngineInfo,
  EngineMemory,
  EngineOutput,
  EngineRequest,
  StepStats,
  Supervision,
} from "../client.ts";
import type { CreatedEngine, EngineOptions } from "../engine-options.ts";
import { EngineDeadError, EngineRequestError } from "../errors.ts";
import { NOTHING, OutputStream } from "../output-stream.ts";
import { checkRequest } from "../request-check.ts";
import { BREAKER_LIMITS, Breaker, type BreakerLimits } from "./breaker.ts";
import {
  ENGINE_HOST,
  EngineProcess,
  type HostModule,
  type RunningReport,
  type StartedProcess,
} from "./engine-process.ts";
import { Flights } from "./flights.ts";
import { WATCHDOG_TIMES, Watchdog, type WatchdogTimes } from "./watchdog.ts";

/** What befalls the engine's process, for a log. */
export type SupervisionEvent =
  | { readonly type: "failed"; readonly reason: string }
  /** Another process goes on; the time is from the failure, or from the one of the attempt before. */
  | { readonly type: "restarted"; readonly ms: number }
  | { readonly type: "gave_up"; readonly reason: string };

export interface SupervisorSettings {
  readonly host: HostModule;
  /** By default what suits the adapter. */
  readonly watchdog?: WatchdogTimes;
  readonly breaker: BreakerLimits;
  readonly onEvent: (event: SupervisionEvent) => void;
}

const SUPERVISOR_SETTINGS: SupervisorSettings = {
  host: ENGINE_HOST,
  breaker: BREAKER_LIMITS,
  onEvent: () => {},
};

type ProgressReport = Extract<RunningReport, { readonly type: "progress" }>;

/** A new start may take so many times as long as the first one did, and this long at least. */
const START_FACTOR = 10;
const MIN_START_LIMIT_MS = 60_000;

/**
 * Like `createEngine`, with the engine in a child process that is watched: where it crashes, hangs or loses its device, another
 * takes its place, and every sequence goes on with the very tokens that it would have had.
 * @throws as `createEngine` does; Error where the process ends before it is ready
 */
export async function superviseEngine(
  options: EngineOptions,
  given: Partial<SupervisorSettings> = {},
): Promise<CreatedEngine> {
  const settings = { ...SUPERVISOR_SETTINGS, ...given };
  const startMs = performance.now();
  const started = await EngineProcess.start(options, settings.host);
  const startLimitMs = Math.max(MIN_START_LIMIT_MS, START_FACTOR * (performance.now() - startMs));
  return { client: new SupervisedEngine(options, settings, started, startLimitMs), model: started.model };
}

/** The engine in a child process: keeps what a replay needs, and starts the process again where it fails. */
class SupervisedEngine implements EngineClient {
  readonly info: EngineInfo;
  readonly #options: EngineOptions;
  readonly #settings: SupervisorSettings;
  readonly #watchdogTimes: WatchdogTimes;
  readonly #startLimitMs: number;
  readonly #flights = new Flights();
  readonly #listeners = new Set<(stats: StepStats) => void>();
  readonly #breaker: Breaker;
  readonly #counts = { numRestarts: 0, numDeviceLosses: 0, numReplays: 0 };
  readonly #timer: NodeJS.Timeout;
  #watchdog: Watchdog;
  /** Undefined while another is being started. */
  #process: EngineProcess | undefined;
  #restarting: string | undefined;
  #restart: Promise<void> | undefined;
  #load = { numRunning: 0, kvUsage: 0 };
  #memory: EngineMemory | undefined;
  #numKeys = 0;
  #deadReason: string | undefined;

  constructor(options: EngineOptions, settings: SupervisorSettings, started: StartedProcess, startLimitMs: number) {
    this.info = started.info;
    // Whoever takes this engine's place runs the same kernels, as others may give other bits, holds sequences as long, and measures
    // nothing while they wait.
    const { kernels, maxModelLen, numKvBlocks, drafterFigures } = started.info;
    const [chosen] = drafterFigures ?? [];
    const drafter = chosen ? { drafter: chosen.drafter } : {};
    this.#options = { ...options, kernels, maxModelLen, numKvBlocks, ...drafter };
    this.#settings = settings;
    this.#watchdogTimes = settings.watchdog ?? WATCHDOG_TIMES[started.info.adapterKind];
    this.#startLimitMs = startLimitMs;
    this.#breaker = new Breaker(settings.breaker);
    this.#watchdog = this.#adopt(started.process);
    this.#timer = setInterval(() => this.#look(), this.#watchdogTimes.intervalMs);
    this.#timer.unref();
  }

  get supervision(): Supervision {
    const { numRestarts, numDeviceLosses, numReplays } = this.#counts;
    const restarting = this.#restarting;
    return { numRestarts, numDeviceLosses, numReplays, ...(restarting === undefined ? {} : { restarting }) };
  }

  get memory(): EngineMemory | undefined {
    return this.#memory;
  }

  /** While the engine is being started again, the sequence waits for it. */
  generate(request: EngineRequest, signal?: AbortSignal): AsyncIterable<EngineOutput> {
    if (this.#deadReason !== undefined) throw new EngineDeadError(this.#deadReason);
    checkRequest(request, this.info);
    if (this.#flights.hasId(request.id)) {
      throw new EngineRequestError("duplicate_id", `a sequence with id ${request.id} is in flight`);
    }
    const key = this.#numKeys++;
    const stream = new OutputStream(() => this.#abort(key));
    const { timeoutMs } = request;
    this.#flights.add(key, request, stream, timeoutMs === undefined ? undefined : performance.now() + timeoutMs);
    if (signal?.aborted) this.#abort(key);
    else signal?.addEventListener("abort", () => this.#abort(key), { once: true });
    this.#sendNext();
    return stream;
  }

  onStep(listener: (stats: StepStats) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load() {
    if (this.#deadReason !== undefined) throw new EngineDeadError(this.#deadReason);
    const { numRunning, kvUsage } = this.#load;
    return { numRunning, numWaiting: Math.max(0, this.#flights.size - numRunning), kvUsage };
  }

  /** Ends every sequence with "abort", and the process. */
  async close(): Promise<void> {
    this.#deadReason ??= "the engine is closed";
    clearInterval(this.#timer);
    this.#endAll({ ...NOTHING, finishReason: "abort" });
    await this.#restart;
    await this.#process?.kill();
  }

  #adopt(process: EngineProcess): Watchdog {
    this.#process = process;
    process.listen({
      onReport: (report) => this.#receive(report),
      onEnd: (reason) => this.#fail(reason),
    });
    return new Watchdog(this.#watchdogTimes, performance.now());
  }

  #sendNext(): void {
    if (this.#process === undefined) return;
    const wasIdle = !this.#flights.areSome;
    const nowMs = performance.now();
    for (const { key, request, outputTokenIds, deadlineMs, isLost } of this.#flights.takeSendable()) {
      if (wasIdle) this.#watchdog.began(nowMs);
      if (isLost) this.#counts.numReplays++;
      // Processes have clocks of their own: what is told is what is left.
      const deadline = Number.isFinite(deadlineMs) ? { timeoutMs: Math.max(0, deadlineMs - nowMs) } : {};
      this.#process.send({ type: "generate", key, request: { ...request, ...deadline, outputTokenIds } });
    }
  }

  #receive(report: RunningReport): void {
    const nowMs = performance.now();
    this.#watchdog.heard(nowMs);
    if (report.type === "dead") this.#fail(report.reason, report.isDeviceLost);
    else if (report.type === "progress") this.#takeIn(report, nowMs);
    else if (report.memory) this.#memory = report.memory;
  }

  #takeIn({ outputs, steps, load }: ProgressReport, nowMs: number): void {
    this.#load = load;
    for (const { key, output } of outputs) {
      const received = this.#flights.receive(key, output);
      if (received === undefined) continue;
      received.flight.stream.push(received.output);
      if (received.flight.isOver && output.finishReason === undefined) this.#process?.send({ type: "abort", key });
    }
    this.#sendNext();
    for (const stats of steps) {
      this.#watchdog.stepped(nowMs, stats.stepMs);
      for (const listener of this.#listeners) listener(stats);
    }
  }

  #abort(key: number): void {
    const flight = this.#flights.abandon(key);
    if (flight === undefined) return;
    flight.stream.push({ ...NOTHING, finishReason: "abort" });
    // On trial: it is aborted when there is an output of it.
    if (this.#flights.has(key)) return;
    this.#process?.send({ type: "abort", key });
    this.#sendNext();
  }

  #look(): void {
    const nowMs = performance.now();
    this.#expire(nowMs);
    if (this.#process === undefined) return;
    const reason = this.#watchdog.look(nowMs, this.#flights.areSome);
    if (reason !== undefined) this.#fail(reason);
    else this.#process.send({ type: "ping" });
  }

  /**
   * Deadlines are the engine's scheduler's, which knows them as it plans a step. Looked for here, at every look, are those that it cannot
   * keep: of an engine whose step does not end, and of sequences that no engine has while it is started again or another one is on trial.
   */
  #expire(nowMs: number): void {
    for (const { stream } of this.#flights.expire(nowMs)) stream.push({ ...NOTHING, finishReason: "deadline" });
  }

  /** The process that runs is of no more use: another takes its place, unless that has failed too often. */
  #fail(reason: string, isDeviceLost = false): void {
    const failed = this.#process;
    if (failed === undefined || this.#deadReason !== undefined) return;
    this.#process = undefined;
    this.#load = { numRunning: 0, kvUsage: 0 };
    if (isDeviceLost) this.#counts.numDeviceLosses++;
    const message = `the engine failed twice while it generated this: ${reason}`;
    this.#flights.lose()?.stream.push({ ...NOTHING, finishReason: "error", error: message });
    this.#restarting = reason;
    this.#restart = this.#replace(failed, reason);
  }

  async #replace(failed: EngineProcess, reason: string): Promise<void> {
    await failed.kill();
    let why = reason;
    while (this.#deadReason === undefined) {
      this.#settings.onEvent({ type: "failed", reason: why });
      const failedMs = performance.now();
      if (this.#breaker.record(performance.now())) return this.#die(`it failed too often, last because ${why}`);
      this.#counts.numRestarts++;
      try {
        const started = await EngineProcess.start(this.#options, this.#settings.host, this.#startLimitMs);
        return await this.#takeOver(started, failedMs);
      } catch (error) {
        why = error instanceof Error ? error.message : String(error);
      }
    }
  }

  async #takeOver({ process, info }: StartedProcess, failedMs: number): Promise<void> {
    if (this.#deadReason !== undefined) return process.kill();
    if (info.fingerprint !== this.info.fingerprint) {
      await process.kill();
      return this.#die(`it came back as ${info.fingerprint}, whose text may differ from ${this.info.fingerprint}'s`);
    }
    this.#restarting = undefined;
    this.#watchdog = this.#adopt(process);
    this.#settings.onEvent({ type: "restarted", ms: Math.round(performance.now() - failedMs) });
    this.#sendNext();
  }

  #die(reason: string): void {
    this.#settings.onEvent({ type: "gave_up", reason });
    this.#deadReason ??= `${reason}; restart the server`;
    this.#restarting = undefined;
    this.#endAll({ ...NOTHING, finishReason: "error", error: `the engine is gone: ${this.#deadReason}` });
  }

  #endAll(output: EngineOutput): void {
    for (const { stream } of this.#flights.clear()) stream.push(output);
  }
}
