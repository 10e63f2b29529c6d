import type { Logger } from "pino";
import type { EngineClient, StepStats } from "../engine/client.ts";

const STATS_INTERVAL_MS = 10_000;

/** Figures of one interval. */
export interface IntervalStats {
  readonly tokensPerSecond: number;
  readonly promptTokensPerSecond: number;
  readonly running: number;
  readonly waiting: number;
  /** Percent of KV blocks in use. */
  readonly kvPercent: number;
  /** Mean tokens that a verified draft gave, the bonus token included; absent where nothing was drafted. */
  readonly acceptanceLength?: number;
}

/** Sums steps up, and forgets them when they are taken. */
export class StatsInterval {
  #last: StepStats | undefined;
  #tokens = 0;
  #promptTokens = 0;
  #drafts = 0;
  #accepted = 0;

  add(stats: StepStats): void {
    this.#last = stats;
    this.#tokens += stats.numEmittedTokens;
    this.#promptTokens += stats.numPrefillTokens;
    for (const { numDraft, numAccepted } of stats.sequences) {
      if (numDraft === 0) continue;
      this.#drafts += 1;
      this.#accepted += numAccepted;
    }
  }

  /** Figures over the `seconds` since the last call, or undefined when there was no step. */
  take(seconds: number): IntervalStats | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    const stats = {
      tokensPerSecond: round(this.#tokens / seconds),
      promptTokensPerSecond: round(this.#promptTokens / seconds),
      running: last.numRunning,
      waiting: last.numWaiting,
      kvPercent: round(last.kvUsage * 100),
      ...(this.#drafts > 0 ? { acceptanceLength: round(1 + this.#accepted / this.#drafts) } : {}),
    };
    this.#last = undefined;
    this.#tokens = this.#promptTokens = this.#drafts = this.#accepted = 0;
    return stats;
  }
}

/** Logs a line every ten seconds in which the engine worked. @returns the way to stop. */
export function logStats(client: EngineClient, logger: Logger, intervalMs = STATS_INTERVAL_MS): () => void {
  const interval = new StatsInterval();
  let sinceMs = performance.now();
  const stopListening = client.onStep((stats) => interval.add(stats));
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const stats = interval.take((nowMs - sinceMs) / 1000);
    sinceMs = nowMs;
    if (stats) logger.info(stats, "stats");
  }, intervalMs);
  timer.unref();
  return () => {
    stopListening();
    clearInterval(timer);
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
