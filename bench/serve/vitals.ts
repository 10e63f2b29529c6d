import { once } from "node:events";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { metric, scrape } from "./scrape.ts";
import { percentile } from "./summary.ts";

/** The worst of many times, ms. */
export interface WorstTimes {
  readonly p99: number;
  readonly max: number;
}

/** How well a server's own process did while it had work. */
export interface Vitals {
  readonly healthMs: WorstTimes;
  /**
   * Delay of the server's event loop as `monitorEventLoopDelay` of Node has it: time between two of its timers, 10 ms where nothing
   * is in their way.
   */
  readonly eventLoopMs: WorstTimes;
}

export interface Watch<T> {
  stop(): Promise<T>;
}

/**
 * Asks /health ten times a second from now until `stop`, in a thread of its own: how long it took to answer; infinite where the
 * answer was not 200.
 */
export function watchHealth(url: string): Watch<WorstTimes> {
  const path = new URL(`./health-worker${extname(import.meta.filename)}`, import.meta.url);
  const worker = new Worker(path, { workerData: { url } });
  return {
    async stop() {
      const told = once(worker, "message");
      worker.postMessage("stop");
      const [times] = (await told) as [number[]];
      return { p99: percentile(times, 0.99), max: percentile(times, 1) };
    },
  };
}

/** Looks after a server from now until `stop`. Nobody else may read its /metrics meanwhile: that begins a new interval. */
export async function watchServer(url: string): Promise<Watch<Vitals>> {
  await scrape(url);
  const health = watchHealth(url);
  return {
    async stop() {
      const metrics = await scrape(url);
      return {
        healthMs: await health.stop(),
        eventLoopMs: { p99: loopMs(metrics, "p99"), max: loopMs(metrics, "max") },
      };
    },
  };
}

/** Of the event loop since /metrics were read last. */
export function loopMs(metrics: ReadonlyMap<string, number>, which: keyof WorstTimes): number {
  return 1000 * metric(metrics, `nodejs_eventloop_lag_${which}_seconds`);
}
