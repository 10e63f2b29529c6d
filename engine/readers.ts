import { invariant } from "../kvcache/invariant.ts";
import type { CommittedSequence } from "../scheduler/output.ts";
import type { Sequence } from "../scheduler/sequence.ts";
import type { EngineOutput, EngineRequest } from "./client.ts";
import { OutputStream } from "./output-stream.ts";
import type { VerifiedSequence } from "./step.ts";

/** A sequence that has not ended, and who reads it. */
interface Reader {
  readonly request: EngineRequest;
  readonly sequence: Sequence;
  readonly stream: OutputStream;
  readonly arrivalMs: number;
  /** Output tokens that have been given, those included that the request came with. */
  numEmitted: number;
  /** Set by the sequence's first step. */
  queueMs?: number;
}

/** Who waits for what the engine generates: each gets every token of its sequence once, and one end. */
export class Readers {
  readonly #readers = new Map<string, Reader>();

  get size(): number {
    return this.#readers.size;
  }

  has(id: string): boolean {
    return this.#readers.has(id);
  }

  ids(): readonly string[] {
    return [...this.#readers.keys()];
  }

  sequences(): readonly Sequence[] {
    return [...this.#readers.values()].map(({ sequence }) => sequence);
  }

  /** @throws Error where nobody reads the sequence: it is scheduled, so somebody must */
  get(id: string): Reader {
    const reader = this.#readers.get(id);
    invariant(reader !== undefined, () => `sequence ${id} is scheduled, but no one reads it`);
    return reader;
  }

  /** @param onAbandoned the reader left before the end */
  add(request: EngineRequest, sequence: Sequence, onAbandoned: () => void): OutputStream {
    const stream = new OutputStream(onAbandoned);
    const arrivalMs = performance.now();
    this.#readers.set(request.id, { request, sequence, stream, arrivalMs, numEmitted: sequence.numOutputTokens });
    return stream;
  }

  /** Gives what a step has emitted. */
  emit(committed: CommittedSequence, { tree, logprobs }: Partial<VerifiedSequence>): void {
    const { id, emittedTokenIds: tokenIds, numAccepted, finishReason } = committed;
    const reader = this.get(id);
    const { queueMs, sequence } = reader;
    reader.numEmitted += tokenIds.length;
    invariant(
      reader.numEmitted === sequence.numOutputTokens,
      () => `${id}: ${reader.numEmitted} tokens are emitted, ${sequence.numOutputTokens} generated`,
    );
    const output = {
      tokenIds,
      numAccepted,
      numDraft: (tree?.tokenIds.length ?? 1) - 1,
      ...(logprobs ? { logprobs: logprobs.slice(0, tokenIds.length) } : {}),
      ...(queueMs === undefined ? {} : { queueMs }),
      ...(sequence.numCachedTokens === undefined ? {} : { numCachedTokens: sequence.numCachedTokens }),
    };
    if (finishReason !== undefined) this.end(id, { ...output, finishReason });
    else reader.stream.push(output);
  }

  /** The last output of a sequence. Does nothing where it has ended. */
  end(id: string, output: EngineOutput): void {
    const reader = this.#readers.get(id);
    this.#readers.delete(id);
    reader?.stream.push(output);
  }
}
