import type { CommittedSequence } from "../../scheduler/output.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import { expect } from "./plan-check.ts";

/** What must come out of a sequence, and what came so far. */
export interface Expectation {
  readonly sequence: Sequence;
  /** Of plain decoding. */
  readonly outputTokenIds: readonly number[];
  readonly finishReason: "stop" | "length";
  readonly priority: number;
  readonly arrival: number;
  /** Of the world's clock. */
  readonly deadlineMs: number;
  numEmitted: number;
}

/** The sequences that have not ended, in order of arrival: each must give what plain decoding gives, token by token. */
export class LiveSequences {
  readonly #live = new Map<string, Expectation>();

  get size(): number {
    return this.#live.size;
  }

  has(id: string): boolean {
    return this.#live.has(id);
  }

  ids(): readonly string[] {
    return [...this.#live.keys()];
  }

  all(): readonly Expectation[] {
    return [...this.#live.values()];
  }

  add(expectation: Expectation): void {
    this.#live.set(expectation.sequence.id, expectation);
  }

  /** It ended, and not by its text. */
  remove(id: string): void {
    this.#live.delete(id);
  }

  /** Takes note of what a step emitted. @throws Error where plain decoding gives something else, or goes on, or would have ended */
  checkCommitted({ id, emittedTokenIds: emitted, numAccepted, finishReason }: CommittedSequence): void {
    const expected = this.#live.get(id);
    if (expected === undefined) throw new Error(`${id} emitted after its end`);
    expect(emitted.length > 0, () => `${id} emitted nothing`);
    expect(numAccepted <= emitted.length, () => `${id}: more accepted than emitted`);
    const wanted = expected.outputTokenIds.slice(expected.numEmitted, expected.numEmitted + emitted.length);
    expect(
      `${wanted}` === `${emitted}`,
      () => `${id} emitted ${emitted} after ${expected.numEmitted}, plain decoding ${wanted}`,
    );
    expected.numEmitted += emitted.length;
    const { numOutputTokens } = expected.sequence;
    expect(
      numOutputTokens === expected.numEmitted,
      () => `${id}: ${numOutputTokens} tokens known, ${expected.numEmitted} emitted`,
    );
    const wantedEnd = expected.numEmitted === expected.outputTokenIds.length ? expected.finishReason : undefined;
    expect(finishReason === wantedEnd, () => `${id}: finish reason ${finishReason}, expected ${wantedEnd}`);
    if (finishReason !== undefined) this.#live.delete(id);
  }
}
