import { once } from "node:events";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { metric, scrape } from "./scrape.ts";
import { percentile } from "./summary.ts";

/** How well a server's own process did while it had work. */
export interface Vitals {
  /** Until /health had answered, asked ten times a second from a thread of its own; infinite where it did not answer with 200. */
  readonly healthMs: { readonly p99: number; readonly max: number };
  /**
   * Delay of the server's event loop as `monitorEventLoopDelay` of Node has it: time between two of its timers, 10 ms where nothing
   * is in their way.
   */
  readonly eventLoopMs: { readonly p99: number; readonly max: number };
}

export interface Watch {
  stop(): Promise<Vitals>;
}

/** Looks after a server from now until `stop`. Nobody else may read its /metrics meanwhile: that begins a new interval. */
export async function watchServer(url: string): Promise<Watch> {
  const path = new URL(`./health-worker${extname(import.meta.filename)}`, import.meta.url);
  const worker = new Worker(path, { workerData: { url } });
  await scrape(url);
  return {
    async stop() {
      const metrics = await scrape(url);
      const told = once(worker, "message");
      worker.postMessage("stop");
      const [times] = (await told) as [number[]];
      const ms = (name: string) => 1000 * metric(metrics, `nodejs_eventloop_lag_${name}_seconds`);
      return {
        healthMs: { p99: percentile(times, 0.99), max: Math.max(0, ...times) },
        eventLoopMs: { p99: ms("p99"), max: ms("max") },
      };
    },
  };
}
