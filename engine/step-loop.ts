interface LoopParts {
  readonly hasWork: () => boolean;
  readonly step: () => Promise<void>;
  /** Waits until what steps left under way has ended. */
  readonly settled: () => Promise<void>;
  /** A step threw, and there will be no other. */
  readonly fail: (error: unknown) => void;
}

/** Takes one step after the other while there is work, and waits between two of them while it is held. */
export class StepLoop {
  readonly #parts: LoopParts;
  #running: Promise<void> | undefined;
  /** The one under way. */
  #step: Promise<void> | undefined;
  #held: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  /** Since when nothing is under way. */
  #stillSinceMs: number | undefined;

  constructor(parts: LoopParts) {
    this.#parts = parts;
  }

  /** There is work. Steps that begin in this turn of the event loop see all of it. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** No step begins until `release`. Resolves once nothing is under way. @throws what `settled` does */
  async hold(): Promise<void> {
    if (this.#held === undefined) {
      let end = () => {};
      const over = new Promise<void>((resolve) => {
        end = resolve;
      });
      this.#held = { over, end };
    }
    // A failure is `fail`'s to tell.
    await this.#step?.catch(() => {});
    await this.#parts.settled();
    this.#stillSinceMs ??= performance.now();
  }

  /** @returns how long nothing was under way, in ms */
  release(): number {
    const nowMs = performance.now();
    const ms = nowMs - (this.#stillSinceMs ?? nowMs);
    this.#stillSinceMs = undefined;
    this.#held?.end();
    this.#held = undefined;
    return ms;
  }

  /** Resolves once the work that there is has been done. */
  async end(): Promise<void> {
    this.release();
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      // Callers of the same turn get into the first step together.
      await Promise.resolve();
      while (this.#parts.hasWork()) {
        while (this.#held) await this.#held.over;
        this.#step = this.#parts.step();
        await this.#step;
      }
    } catch (error) {
      this.#parts.fail(error);
    } finally {
      this.#running = undefined;
      this.#step = undefined;
    }
  }
}
