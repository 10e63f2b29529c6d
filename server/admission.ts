import { ApiError } from "./errors.ts";

export interface AdmissionLimits {
  /** Sequences that the engine runs at once. */
  readonly maxNumSeqs: number;
  /** Sequences that may wait beyond those. */
  readonly maxQueue: number;
  /** No caller may take what would leave the others nothing. */
  readonly isShared: boolean;
}

/** A request's place in the server; given back exactly once. */
export interface Ticket {
  release(): void;
}

interface Entry {
  readonly numSequences: number;
  readonly caller: string;
  readonly abort: (reason: ApiError) => void;
}

/**
 * The door to the engine: bounded, so that overload is an immediate answer and never a silent wait.
 * It also knows when the server is empty, which is what draining waits for.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #entries = new Set<Entry>();
  readonly #idleWaiters: (() => void)[] = [];
  #numSequences = 0;
  #draining = false;
  /** Moving average of the seconds that a request stays, for Retry-After. */
  #averageSeconds = 1;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Requests under way. */
  get numRequests(): number {
    return this.#entries.size;
  }

  /**
   * Takes places for `numSequences` of a caller. `abort` is called if the server ends before the request does.
   * @throws ApiError draining | queue_full
   */
  enter(numSequences: number, caller: string, abort: (reason: ApiError) => void): Ticket {
    if (this.#draining) {
      throw new ApiError("draining", "the server is shutting down; send the request to another or try again shortly", {
        headers: { "retry-after": "10" },
      });
    }
    const { maxNumSeqs, maxQueue } = this.#limits;
    // A request larger than the whole queue is let into an empty server, or it could never be served.
    if (this.#numSequences > 0 && this.#numSequences + numSequences > maxNumSeqs + maxQueue) {
      throw this.#full(`${this.#numSequences} sequences in progress, at most ${maxNumSeqs} run and ${maxQueue} wait`);
    }
    const numLeft = maxNumSeqs + maxQueue - this.#numSequences;
    const numOwn = this.#numOf(caller);
    if (this.#limits.isShared && numOwn > 0 && numOwn + numSequences > numLeft) {
      const message = `${numOwn} sequences of this API key in progress, no more than the ${numLeft} places that are left to all keys may be`;
      throw this.#full(message);
    }
    return this.#add({ numSequences, caller, abort });
  }

  #full(why: string): ApiError {
    const headers = { "retry-after": String(this.retryAfterSeconds) };
    return new ApiError("queue_full", `the queue is full: ${why}; try again shortly`, { headers });
  }

  #numOf(caller: string): number {
    return [...this.#entries].reduce((sum, entry) => sum + (entry.caller === caller ? entry.numSequences : 0), 0);
  }

  /** About when the queue has moved on: as many rounds as it is batches deep, 1 to 60 s. */
  get retryAfterSeconds(): number {
    const rounds = this.#numSequences / Math.max(1, this.#limits.maxNumSeqs);
    return Math.min(60, Math.max(1, Math.ceil(rounds * this.#averageSeconds)));
  }

  /** From now on nothing enters. */
  beginDrain(): void {
    this.#draining = true;
  }

  /** Ends every request under way with `reason`. */
  abortAll(reason: ApiError): void {
    for (const entry of this.#entries) entry.abort(reason);
  }

  /** Resolves when no request is under way. */
  whenIdle(): Promise<void> {
    if (this.#entries.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #add(entry: Entry): Ticket {
    const startMs = performance.now();
    this.#entries.add(entry);
    this.#numSequences += entry.numSequences;
    return {
      release: () => {
        if (!this.#entries.delete(entry)) return;
        this.#numSequences -= entry.numSequences;
        this.#averageSeconds += 0.1 * ((performance.now() - startMs) / 1000 - this.#averageSeconds);
        if (this.#entries.size === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
      },
    };
  }
}
