import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { TextAssets } from "../engine/model/types.ts";
import { ApiError } from "./errors.ts";
import type { TextJob, TextResult } from "./text-job.ts";

export interface TextThreadSettings {
  /** A job that takes longer is given up, and the thread with it. */
  readonly deadlineMs: number;
  /** What the thread runs. */
  readonly module: URL;
}

const SETTINGS: TextThreadSettings = {
  deadlineMs: 10_000,
  module: new URL(`./text-thread-main${extname(import.meta.filename)}`, import.meta.url),
};

/** A template that allocates without end is the end of the thread, not of the server. */
const MAX_HEAP_MIB = 2048;

interface PendingJob {
  readonly job: TextJob;
  readonly resolve: (ids: readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A thread that turns text into ids, one job at a time in order of arrival. Where a job takes too long or ends the thread, that job
 * fails alone, and another thread takes this one's place. A job that nobody waits for any more is not begun.
 */
export class TextThread {
  readonly #assets: TextAssets;
  readonly #settings: TextThreadSettings;
  readonly #waiting: PendingJob[] = [];
  /** Under way in the thread. */
  #current: PendingJob | undefined;
  /** Undefined after a failure: the next job starts another. */
  #worker: Worker | undefined;
  #isReady = false;
  #deadline: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param assets of a model whose text has been read without an error */
  constructor(assets: TextAssets, settings: Partial<TextThreadSettings> = {}) {
    this.#assets = assets;
    this.#settings = { ...SETTINGS, ...settings };
    this.#worker = this.#start();
  }

  /** @throws ApiError as the job does, and invalid_value where it took too long; or the reason that `signal` was aborted with */
  run(job: TextJob, signal?: AbortSignal): Promise<readonly number[]> {
    let leave = () => {};
    const done = new Promise<readonly number[]>((resolve, reject) => {
      signal?.throwIfAborted();
      const pending = { job, resolve, reject };
      leave = () => {
        const place = this.#waiting.indexOf(pending);
        if (place >= 0) this.#waiting.splice(place, 1);
        reject(signal?.reason);
      };
      this.#waiting.push(pending);
      signal?.addEventListener("abort", leave, { once: true });
      this.#next();
    });
    // The signal lives as long as the request, which may be much longer than its text is needed.
    return done.finally(() => signal?.removeEventListener("abort", leave));
  }

  /** Jobs that have not ended fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#deadline);
    await this.#worker?.terminate();
    const error = new Error("the text thread is closed");
    this.#current?.reject(error);
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #start(): Worker {
    const worker = new Worker(this.#settings.module, {
      workerData: this.#assets,
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
    });
    worker.on("message", (message: "ready" | TextResult) => {
      if (worker !== this.#worker) return;
      if (message !== "ready") return this.#settle(message);
      this.#isReady = true;
      this.#next();
    });
    // After an error comes the exit.
    let failure = "it ended";
    worker.once("error", (error) => {
      failure = error.message;
    });
    worker.once("exit", () => this.#giveUp(worker, new Error(`the text thread failed: ${failure}`)));
    return worker;
  }

  #next(): void {
    const [pending] = this.#waiting;
    if (this.#current !== undefined || pending === undefined) return;
    if (this.#worker === undefined) this.#worker = this.#start();
    else if (this.#isReady) {
      this.#waiting.shift();
      this.#give(this.#worker, pending);
    }
  }

  #give(worker: Worker, pending: PendingJob): void {
    this.#current = pending;
    worker.postMessage(pending.job);
    const { deadlineMs } = this.#settings;
    this.#deadline = setTimeout(() => {
      const message = `reading the text took more than ${deadlineMs / 1000} s; send less text`;
      this.#giveUp(worker, new ApiError("invalid_value", message));
    }, deadlineMs);
  }

  #settle(result: TextResult): void {
    clearTimeout(this.#deadline);
    const pending = this.#current;
    this.#current = undefined;
    if ("ids" in result) pending?.resolve(Array.from(result.ids));
    else if ("failure" in result) pending?.reject(new Error(result.failure));
    else {
      const { code, message, param } = result.refusal;
      pending?.reject(new ApiError(code, message, param === null ? {} : { param }));
    }
    this.#next();
  }

  /** `worker` is of no more use, and its job fails: the next one where it has none, or a thread that cannot start were tried for ever. */
  #giveUp(worker: Worker, error: Error): void {
    if (this.#isClosed || worker !== this.#worker) return;
    clearTimeout(this.#deadline);
    void worker.terminate();
    this.#worker = undefined;
    this.#isReady = false;
    const failed = this.#current ?? this.#waiting.shift();
    this.#current = undefined;
    failed?.reject(error);
    this.#next();
  }
}
