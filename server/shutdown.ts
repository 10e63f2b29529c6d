import type { Logger } from "pino";
import type { Admission } from "./admission.ts";
import { ApiError } from "./errors.ts";

export interface ShutdownParts {
  readonly admission: Pick<Admission, "beginDrain" | "whenIdle" | "abortAll" | "numRequests">;
  /** Stops listening; resolves when the last connection has closed. */
  readonly closeServer: () => Promise<unknown>;
  /** Ends connections that would not close by themselves. */
  readonly dropConnections: () => void;
  readonly closeEngine: () => Promise<void>;
  readonly logger: Pick<Logger, "info" | "warn">;
}

export interface ShutdownTimes {
  /** Requests under way have this long to finish. */
  readonly drainMs: number;
  /** Aborted requests and open connections have this long to end. */
  readonly closeMs: number;
}

export const SHUTDOWN_TIMES: ShutdownTimes = { drainMs: 30_000, closeMs: 3_000 };

/**
 * Ends a server in order: not ready at once and nothing new is let in; requests under way finish, or after a while are
 * told why they end; then connections and the engine are closed. Probes and metrics answer until the last request ended.
 */
export async function shutDown(parts: ShutdownParts, { drainMs, closeMs } = SHUTDOWN_TIMES): Promise<void> {
  const { admission, logger } = parts;
  admission.beginDrain();
  logger.info({ requests: admission.numRequests }, "shutting down: requests under way may finish");
  if (!(await isWithin(admission.whenIdle(), drainMs))) {
    logger.warn({ requests: admission.numRequests }, "shutting down: requests took too long and are ended");
    admission.abortAll(
      new ApiError("draining", "the server shut down before this request was finished; send it again", {
        headers: { "retry-after": "10" },
      }),
    );
    await isWithin(admission.whenIdle(), closeMs);
  }
  const closed = parts.closeServer();
  if (!(await isWithin(closed, closeMs))) {
    parts.dropConnections();
    await closed;
  }
  await parts.closeEngine();
  logger.info("shut down");
}

async function isWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

export type StopSignal = "SIGTERM" | "SIGINT";
const SIGNAL_NUMBERS: Readonly<Record<StopSignal, number>> = { SIGINT: 2, SIGTERM: 15 };
/** npm passes on a Ctrl-C that the terminal has already sent to the whole group: one wish, two signals. */
const ECHO_MS = 100;

/** Calls `stop` at the first signal; a second one leaves at once. */
export function onStopSignals(
  source: { on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown },
  stop: () => void,
  exit: (code: number) => void,
  now: () => number = () => performance.now(),
): void {
  let firstMs: number | undefined;
  const listener = (signal: StopSignal) => {
    if (firstMs === undefined) {
      firstMs = now();
      stop();
    } else if (now() - firstMs > ECHO_MS) exit(128 + SIGNAL_NUMBERS[signal]);
  };
  source.on("SIGTERM", listener);
  source.on("SIGINT", listener);
}
