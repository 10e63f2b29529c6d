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
 * fails alone, and another thread takes this one's place.
 */
export class TextThread {
  readonly #assets: TextAssets;
  readonly #settings: TextThreadSettings;
  /** The first of them is under way. */
  readonly #jobs: PendingJob[] = [];
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

  /** @throws ApiError as the job does, and invalid_value where it took too long */
  run(job: TextJob): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      this.#jobs.push({ job, resolve, reject });
      if (this.#jobs.length === 1) this.#next();
    });
  }

  /** Jobs that have not ended fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#deadline);
    await this.#worker?.terminate();
    for (const { reject } of this.#jobs.splice(0)) reject(new Error("the text thread is closed"));
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
    const [pending] = this.#jobs;
    if (pending === undefined) return;
    if (this.#worker === undefined) this.#worker = this.#start();
    else if (this.#isReady) this.#give(this.#worker, pending.job);
  }

  #give(worker: Worker, job: TextJob): void {
    worker.postMessage(job);
    const { deadlineMs } = this.#settings;
    this.#deadline = setTimeout(() => {
      const message = `reading the text took more than ${deadlineMs / 1000} s; send less text`;
      this.#giveUp(worker, new ApiError("invalid_value", message));
    }, deadlineMs);
  }

  #settle(result: TextResult): void {
    clearTimeout(this.#deadline);
    const pending = this.#jobs.shift();
    if ("ids" in result) pending?.resolve(Array.from(result.ids));
    else if ("failure" in result) pending?.reject(new Error(result.failure));
    else {
      const { code, message, param } = result.refusal;
      pending?.reject(new ApiError(code, message, param === null ? {} : { param }));
    }
    this.#next();
  }

  /** `worker` is of no more use, and its job fails. */
  #giveUp(worker: Worker, error: Error): void {
    if (this.#isClosed || worker !== this.#worker) return;
    clearTimeout(this.#deadline);
    void worker.terminate();
    this.#worker = undefined;
    this.#isReady = false;
    this.#jobs.shift()?.reject(error);
    this.#next();
  }
}
