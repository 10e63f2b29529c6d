import type { EngineOutput } from "./client.ts";

/** Of an output that ends a sequence without giving anything. */
export const NOTHING = { tokenIds: [], numAccepted: 0, numDraft: 0 } as const;

/** One sequence's outputs on their way to its reader. The engine pushes, one reader iterates. */
export class OutputStream implements AsyncIterable<EngineOutput> {
  readonly #queue: EngineOutput[] = [];
  readonly #onAbandoned: () => void;
  #wake: (() => void) | undefined;
  #ended = false;

  /** @param onAbandoned the reader left before the last output. */
  constructor(onAbandoned: () => void) {
    this.#onAbandoned = onAbandoned;
  }

  /** The output that carries a finishReason is the last; what is pushed after it is dropped. */
  push(output: EngineOutput): void {
    if (this.#ended) return;
    this.#ended = output.finishReason !== undefined;
    this.#queue.push(output);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<EngineOutput> {
    try {
      while (true) {
        const output = this.#queue.shift();
        if (output) {
          yield output;
          if (output.finishReason !== undefined) return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      if (!this.#ended) {
        this.#ended = true;
        this.#onAbandoned();
      }
    }
  }
}
