import type { EngineClient, EngineOutput, EngineRequest, StepStats } from "../../engine/client.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import type { Output } from "../../server/cli-logger.ts";
import { FAKE_INFO } from "../support/fake-engine.ts";

/** Gives one token a turn for as long as its sequences are held. */
export class HeldEngine implements EngineClient {
  readonly info = {
    ...{ ...FAKE_INFO, adapter: "SwiftShader (software)", adapterKind: "software" as const },
    drafterFigures: [
      { drafter: "draft" as const, tokensPerSecond: 46.13, acceptanceLength: 3.35 },
      { drafter: "medusa" as const, tokensPerSecond: 40, acceptanceLength: 1.9 },
    ],
  };
  readonly options: EngineOptions;
  readonly listeners = new Set<(stats: StepStats) => void>();
  numRunning = 0;
  closed = 0;
  held = true;

  constructor(options: EngineOptions) {
    this.options = options;
  }

  async *generate(_request: EngineRequest, signal?: AbortSignal): AsyncGenerator<EngineOutput> {
    this.numRunning += 1;
    try {
      while (!signal?.aborted) {
        await new Promise(setImmediate);
        if (!this.held) return yield { tokenIds: [300], numAccepted: 0, numDraft: 0, finishReason: "length" };
        yield { tokenIds: [300], numAccepted: 0, numDraft: 0 };
      }
      yield { tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "abort" };
    } finally {
      this.numRunning -= 1;
    }
  }

  onStep(listener: (stats: StepStats) => void) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  load() {
    return { numRunning: this.numRunning, numWaiting: 0, kvUsage: 0 };
  }

  async close() {
    this.closed += 1;
  }
}

/** Remembers what was written. */
export class Recorder implements Output {
  text = "";
  readonly isTTY: boolean;
  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }
  write(chunk: string) {
    this.text += chunk;
  }
  lines(): Record<string, unknown>[] {
    return this.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  }
}
