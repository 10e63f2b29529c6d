import { setTimeout as sleep } from "node:timers/promises";
import type { EngineClient, EngineInfo, EngineOutput, EngineRequest, StepStats } from "../../engine/client.ts";
import { EngineDeadError } from "../../engine/errors.ts";

/** One step of an answer: token ids, of which the first `numAccepted` were drafted. */
export interface FakeStep {
  readonly tokenIds: readonly number[];
  readonly numAccepted: number;
}

export interface FakeEngineOptions {
  /** In place of some of `FAKE_INFO`. */
  readonly info?: Partial<EngineInfo>;
  /** What a request is answered with. */
  readonly answer: (request: EngineRequest) => readonly FakeStep[];
  readonly stepMs?: number;
  /** Of a request's prompt. */
  readonly numCachedTokens?: (request: EngineRequest) => number;
  /** No sequence has its first step before. */
  readonly gate?: Promise<void>;
  /** Ends with an error after this many steps. */
  readonly failAfterSteps?: number;
}

export const FAKE_INFO: EngineInfo = {
  ...{ modelName: "fake", drafter: "draft", adapter: "Fake", adapterKind: "gpu", features: [] },
  ...{ maxModelLen: 256, vocabSize: 4096, numKvBlocks: 65, blockSize: 16, maxNumSeqs: 4, fingerprint: "fake-1" },
  treeDepth: 7,
  kernels: { target: { key: "fake", rowTiles: [1], ranges: {} } },
};

/** Answers from a script and remembers what it was asked: an engine for tests of the server. */
export class FakeEngine implements EngineClient {
  readonly info: EngineInfo;
  readonly requests: EngineRequest[] = [];
  /** Sequences that ended before their answer did. */
  numAborted = 0;
  dead = false;
  #numRunning = 0;
  readonly #options: FakeEngineOptions;
  readonly #listeners = new Set<(stats: StepStats) => void>();

  constructor(options: FakeEngineOptions) {
    this.#options = options;
    this.info = { ...FAKE_INFO, ...options.info };
  }

  generate(request: EngineRequest, signal?: AbortSignal): AsyncIterable<EngineOutput> {
    if (this.dead) throw new EngineDeadError("it was told to die");
    this.requests.push(request);
    return this.#outputs(request, signal);
  }

  onStep(listener: (stats: StepStats) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load() {
    if (this.dead) throw new EngineDeadError("it was told to die");
    return { numRunning: this.#numRunning, numWaiting: 0, kvUsage: this.#numRunning / 64 };
  }

  async close(): Promise<void> {}

  /** As if a step had verified one sequence. */
  tell(stats: StepStats): void {
    for (const listener of this.#listeners) listener(stats);
  }

  async *#outputs(request: EngineRequest, signal: AbortSignal | undefined): AsyncGenerator<EngineOutput> {
    this.#numRunning++;
    let ended = false;
    const { timeoutMs } = request;
    const deadline = timeoutMs === undefined ? undefined : AbortSignal.timeout(Math.max(0, Math.ceil(timeoutMs)));
    const ends = [signal, deadline].flatMap((one) => one ?? []);
    try {
      if (this.#options.gate) await untilAborted(this.#options.gate, ends);
      for (const output of this.#script(request)) {
        await sleep(this.#options.stepMs ?? 0);
        if (ends.some(({ aborted }) => aborted)) {
          const finishReason = signal?.aborted ? "abort" : "deadline";
          yield { tokenIds: [], numAccepted: 0, numDraft: 0, finishReason };
          return;
        }
        ended = output.finishReason !== undefined;
        yield output;
      }
    } finally {
      this.#numRunning--;
      if (!ended) this.numAborted++;
    }
  }

  /** The answer cut at maxTokens and after an end token, as an engine does. */
  *#script(request: EngineRequest): Generator<EngineOutput> {
    const { maxTokens, stopTokenIds } = request.params;
    let numLeft = maxTokens;
    for (const [i, { tokenIds, numAccepted }] of this.#options.answer(request).entries()) {
      if (i === this.#options.failAfterSteps) {
        yield { tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "error", error: "it was told to fail" };
        return;
      }
      const end = tokenIds.findIndex((id) => stopTokenIds.includes(id));
      const numEmitted = Math.min(end < 0 ? tokenIds.length : end + 1, numLeft);
      numLeft -= numEmitted;
      const output = {
        tokenIds: tokenIds.slice(0, numEmitted),
        numAccepted: Math.min(numAccepted, numEmitted),
        numDraft: 7,
        ...fakeLogprobs(request, tokenIds.slice(0, numEmitted)),
        numCachedTokens: this.#options.numCachedTokens?.(request) ?? 0,
      };
      if (end >= 0 && end < numEmitted) yield { ...output, finishReason: "stop" };
      else if (numLeft === 0) yield { ...output, finishReason: "length" };
      else yield output;
      if (numLeft === 0 || (end >= 0 && end < numEmitted)) return;
    }
    throw new Error("the fake engine's answer is too short");
  }
}

function untilAborted(work: Promise<void>, signals: readonly AbortSignal[]): Promise<void> {
  const aborted = signals.map(
    (signal) => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true })),
  );
  return Promise.race([work, ...aborted]);
}

/** Each token's log-probability is minus a hundredth of its id; the best are itself and the ids after it, ever less likely. */
function fakeLogprobs({ params }: EngineRequest, tokenIds: readonly number[]): Pick<EngineOutput, "logprobs"> {
  const { logprobs: numTop } = params;
  if (numTop === undefined) return {};
  const best = (tokenId: number) =>
    Array.from({ length: numTop }, (_, i) => ({ tokenId: tokenId + i, logprob: -(tokenId + i) / 100 }));
  return { logprobs: tokenIds.map((tokenId) => ({ logprob: -tokenId / 100, top: best(tokenId) })) };
}
