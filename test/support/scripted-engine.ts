import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { EngineClient, EngineOutput, EngineRequest, StepStats } from "../../engine/client.ts";
import { EngineDeadError } from "../../engine/errors.ts";
import { GpuError } from "../../kernels/index.ts";
import { FAKE_INFO } from "./fake-engine.ts";

/** What happens to the engine before it gives token `FAULT_AT` of a sequence. A prompt's first token says which. */
export const FAULTS = {
  none: 0,
  /** Its process is killed, stopped, or stays alive but takes no step; its device is lost. Not once tokens were known before. */
  kill: 1,
  stop: 2,
  stall: 3,
  loseDevice: 4,
  /** Kills the process whenever it comes to that token. */
  poison: 5,
  /** The sequence fails, and nothing else. */
  fail: 6,
} as const;
export const FAULT_AT = 4;
const NOTHING = { tokenIds: [], numAccepted: 0, numDraft: 0 } as const;
const killMe = (signal: NodeJS.Signals) => process.kill(process.pid, signal);

/** The token at each place of the answer to a prompt: known without an engine. */
export const scriptedToken = ([fault = 0, salt = 0]: readonly number[], at: number): number =>
  (31 * fault + 17 * salt + 7 * at + 300) % FAKE_INFO.vocabSize;

/** Gives a token a millisecond, a sequence a step, and does to its process what a prompt asks for. */
export class ScriptedEngine implements EngineClient {
  readonly info = FAKE_INFO;
  readonly #listeners = new Set<(stats: StepStats) => void>();
  #numRunning = 0;
  #isStalled = false;
  #death: EngineDeadError | undefined;

  async *generate(request: EngineRequest, signal?: AbortSignal): AsyncGenerator<EngineOutput> {
    const { promptTokenIds, outputTokenIds = [], params, timeoutMs = Number.POSITIVE_INFINITY } = request;
    const deadlineMs = performance.now() + timeoutMs;
    this.#numRunning++;
    try {
      for (let at = outputTokenIds.length; at < params.maxTokens; at++) {
        do await sleep(1);
        while (this.#isStalled);
        // As with a device, what a step gave is reported before the next one ends, also where timers are late.
        await turn();
        this.#befall(promptTokenIds[0], at, outputTokenIds.length);
        if (this.#death) return yield { ...NOTHING, finishReason: "error", error: this.#death.message };
        if (promptTokenIds[0] === FAULTS.fail && at === FAULT_AT) {
          this.#numRunning--;
          return yield { ...NOTHING, finishReason: "error", error: "not numbers" };
        }
        if (signal?.aborted) return yield { ...NOTHING, finishReason: "abort" };
        if (performance.now() >= deadlineMs) {
          this.#numRunning--;
          return yield { ...NOTHING, finishReason: "deadline" };
        }
        const output = {
          ...{ ...NOTHING, tokenIds: [scriptedToken(promptTokenIds, at)] },
          // Other than 0 where another engine had the sequence's first step.
          ...{ queueMs: outputTokenIds.length, numCachedTokens: outputTokenIds.length },
        };
        if (at === params.maxTokens - 1) this.#numRunning--;
        this.#tell(request.id);
        yield at === params.maxTokens - 1 ? { ...output, finishReason: "length" } : output;
      }
    } finally {
      if (signal?.aborted || this.#death) this.#numRunning--;
    }
  }

  onStep(listener: (stats: StepStats) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load() {
    if (this.#death) throw this.#death;
    return { numRunning: this.#numRunning, numWaiting: 0, kvUsage: this.#numRunning / 64 };
  }

  async close(): Promise<void> {}

  #befall(fault: number | undefined, at: number, numKnown: number): void {
    if (at < FAULT_AT) return;
    if (fault === FAULTS.poison) killMe("SIGKILL");
    if (at > FAULT_AT || numKnown > 0) return;
    if (fault === FAULTS.kill) killMe("SIGKILL");
    if (fault === FAULTS.stop) killMe("SIGSTOP");
    if (fault === FAULTS.stall) this.#isStalled = true;
    if (fault === FAULTS.loseDevice) {
      const cause = new GpuError("device_lost", "the GPU device was lost");
      this.#death = new EngineDeadError(cause.message, { cause });
    }
  }

  #tell(id: string): void {
    const stats = {
      ...{ numRunning: this.#numRunning, numWaiting: 0, kvUsage: 0, numPrefillTokens: 0, numRows: 1 },
      ...{ numEmittedTokens: 1, numPreemptions: 0, draftMs: 0, verifyMs: 1, commitMs: 0, stepMs: 1 },
      ...{ numPrefixQueryTokens: 0, numPrefixHitTokens: 0 },
      sequences: [{ id, numDraft: 0, numAccepted: 0 }],
    };
    for (const listener of this.#listeners) listener(stats);
  }
}
