import { setTimeout as sleep } from "node:timers/promises";
import type { ServerProcess } from "../serve/server-process.ts";
import { type WorstTimes, watchHealth } from "../serve/vitals.ts";
import { type Outcome, send } from "./client.ts";
import { type Reading, takeReading } from "./readings.ts";
import { nextRequest } from "./traffic.ts";
import type { SoakFigures } from "./verdict.ts";

export interface SoakPlan {
  readonly minutes: number;
  /** Clients at a time. */
  readonly numClients: number;
  /** Of them, before anything counts: caches fill, and Node compiles. */
  readonly warmUpMinutes: number;
  /** Between two idle moments. */
  readonly loadMinutes: number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onReading: (reading: Reading, isIdle: boolean) => void;
}

const READING_INTERVAL_MS = 5_000;
/** Idle connections of Node's fetch are closed after 4 s; a server that still has a sequence after this long has lost it. */
const SETTLE_MS = 8_000;
const IDLE_LIMIT_MS = 60_000;

/** Keeps a server under mixed load, with an idle moment after the warm-up and after each round. */
export async function soak(
  server: ServerProcess,
  plan: SoakPlan,
): Promise<SoakFigures & { readonly healthMs: WorstTimes }> {
  const startMs = performance.now();
  const minutes = () => (performance.now() - startMs) / 60_000;
  const loaded: Reading[] = [];
  const idle: Reading[] = [];
  const outcomes: Outcome[] = [];
  const read = async (into: Reading[]) => {
    const reading = await takeReading(server.url, server.pid, minutes());
    into.push(reading);
    plan.onReading(reading, into === idle);
  };
  const runRound = async (untilMinutes: number, readings: Reading[]) => {
    const isOver = () => minutes() >= untilMinutes;
    const client = async () => {
      while (!isOver()) outcomes.push(await send(server.url, nextRequest(plan.random)));
    };
    const clients = Promise.all(Array.from({ length: plan.numClients }, client));
    while (!isOver()) {
      await sleep(Math.min(READING_INTERVAL_MS, Math.max(0, 60_000 * (untilMinutes - minutes()))));
      await read(readings);
    }
    await clients;
    await whenIdle(server);
    await read(idle);
  };
  await runRound(plan.warmUpMinutes, []);
  const health = watchHealth(server.url);
  while (minutes() < plan.minutes) await runRound(Math.min(plan.minutes, minutes() + plan.loadMinutes), loaded);
  return { loaded, idle, outcomes, healthMs: await health.stop() };
}

async function whenIdle({ url, pid }: ServerProcess): Promise<void> {
  const limitMs = performance.now() + IDLE_LIMIT_MS;
  do await sleep(SETTLE_MS);
  while ((await takeReading(url, pid, 0)).numSequences > 0 && performance.now() < limitMs);
}
