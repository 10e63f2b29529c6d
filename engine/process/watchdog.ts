import type { EngineInfo } from "../client.ts";

export interface WatchdogTimes {
  /** Between two looks at the engine, each with a ping. */
  readonly intervalMs: number;
  /** Silence is never called a hang before this long… */
  readonly minSilenceMs: number;
  /** …nor before so many times the longest step of late. */
  readonly stepFactor: number;
}

const GPU_TIMES: WatchdogTimes = { intervalMs: 1_000, minSilenceMs: 10_000, stepFactor: 20 };

/** By adapter: a software adapter shares its cores with whatever else runs, and compiles kernels on them. */
export const WATCHDOG_TIMES: Readonly<Record<EngineInfo["adapterKind"], WatchdogTimes>> = {
  gpu: GPU_TIMES,
  software: { ...GPU_TIMES, minSilenceMs: 30_000 },
};

/** The longest step is forgotten by this much with every step after it. */
const FORGET = 0.98;

/**
 * Tells an engine that hangs from one that is slow. It hangs when its process answers nothing, or when it has work and no step
 * ends; both for much longer than its steps take, so that slow adapters are left in peace. Times are ms of one monotonic clock.
 */
export class Watchdog {
  readonly #times: WatchdogTimes;
  #heardMs: number;
  #progressMs: number;
  #lookedMs: number;
  #longestStepMs = 0;

  /** The engine is ready at `nowMs`. */
  constructor(times: WatchdogTimes, nowMs: number) {
    this.#times = times;
    this.#heardMs = this.#progressMs = this.#lookedMs = nowMs;
  }

  get silenceMs(): number {
    return Math.max(this.#times.minSilenceMs, this.#times.stepFactor * this.#longestStepMs);
  }

  /** Anything came from the engine. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  /** An engine without work was given some. */
  began(nowMs: number): void {
    this.#progressMs = nowMs;
  }

  stepped(nowMs: number, stepMs: number): void {
    this.#progressMs = nowMs;
    this.#longestStepMs = Math.max(stepMs, FORGET * this.#longestStepMs);
  }

  /** Why the engine counts as hung, or undefined. To be asked every `intervalMs`. */
  look(nowMs: number, hasWork: boolean): string | undefined {
    const blindMs = nowMs - this.#lookedMs - this.#times.intervalMs;
    this.#lookedMs = nowMs;
    if (blindMs > this.#times.intervalMs) {
      // This process stood still: what came meanwhile has not been read yet.
      this.#heardMs += blindMs;
      this.#progressMs += blindMs;
    }
    const { silenceMs } = this;
    const limit = `for ${(silenceMs / 1000).toFixed(1)} s`;
    if (nowMs - this.#heardMs > silenceMs) return `the engine's process answered nothing ${limit}`;
    if (hasWork && nowMs - this.#progressMs > silenceMs) return `no step of the engine ended ${limit}`;
    return undefined;
  }
}
