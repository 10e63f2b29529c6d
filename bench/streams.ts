import { setTimeout } from "node:timers/promises";
import type { Engine } from "../engine/engine.ts";
import type { SamplingParams } from "../engine/sampling-params.ts";
import type { ExpectedRates } from "../engine/speculative/budget/tree-policy.ts";
import { countStep, noSteps, type TotalsByKind } from "./step-kinds.ts";

export interface StreamsOptions {
  readonly numStreams: number;
  readonly prompts: readonly (readonly number[])[];
  readonly params: SamplingParams;
}

/** What all streams together gave in one turn. */
export interface Turn {
  readonly ms: number;
  readonly numTokens: number;
  /** Of each sequence. */
  readonly numSteps: number;
  readonly numDrafted: number;
  readonly steps: TotalsByKind;
  /** At its end. */
  readonly expected: ExpectedRates | undefined;
}

/** When a turn ends: after so many ms, or with so many tokens of all streams since they were opened. */
export type TurnEnd = { readonly ms: number } | { readonly numTokens: number };

/** Far from the one before, and prime: lengths of texts that follow each other say nothing of each other. */
const LENGTH_STRIDE = 7919;

/**
 * Tokens of the nth text, half of the most to all of them, each length as often as another. Texts of one length that begin together end
 * together while nothing is drafted, so that prompts are computed all at once: no server has such streams.
 */
export function textLength(text: number, maxTokens: number): number {
  const least = Math.ceil(maxTokens / 2);
  return least + ((text * LENGTH_STRIDE) % (maxTokens - least + 1));
}

let numRequests = 0;

/**
 * So many streams at once, each of which takes the next prompt when its text has ended, on an engine that runs by turns: a turn goes on where the
 * one before it stopped, in the middle of texts, so that turns may be short.
 */
export class Streams {
  readonly #engine: Engine;
  readonly #options: StreamsOptions;
  readonly #streams: Promise<unknown>;
  #isOver = false;
  #numTexts = 0;
  /** Since they were opened. */
  #numTokens = 0;

  private constructor(engine: Engine, options: StreamsOptions) {
    this.#engine = engine;
    this.#options = options;
    this.#streams = Promise.all(Array.from({ length: options.numStreams }, () => this.#stream()));
  }

  /** The first texts are queued; nothing runs before the first turn. */
  static async open(engine: Engine, options: StreamsOptions): Promise<Streams> {
    await engine.pause();
    return new Streams(engine, options);
  }

  /** Tokens of all of them since they were opened. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /**
   * Runs until its end, not at all where that is reached, and until the steps that are under way then have ended: their tokens and time count.
   * @returns what was had from the time at which the device was free until that at which it is again
   */
  async turn(end: TurnEnd): Promise<Turn> {
    const numBefore = this.#numTokens;
    let [numSteps, numDrafted] = [0, 0];
    const steps = noSteps();
    let expected: ExpectedRates | undefined;
    const stopListening = this.#engine.onStep((step) => {
      const { sequences, speculation, numEmittedTokens } = step;
      countStep(steps, step);
      expected = speculation?.expected;
      this.#numTokens += numEmittedTokens;
      numSteps += sequences.length;
      for (const { numDraft } of sequences) numDrafted += numDraft > 0 ? 1 : 0;
    });
    const startMs = performance.now();
    if ("ms" in end || numBefore < end.numTokens) {
      this.#engine.resume();
      // They go on for ever, but where the engine fails.
      await Promise.race(["ms" in end ? setTimeout(end.ms) : this.#hasTokens(end.numTokens), this.#streams]);
      await this.#engine.pause();
    }
    const ms = performance.now() - startMs;
    stopListening();
    return { ms, numTokens: this.#numTokens - numBefore, numSteps, numDrafted, steps, expected };
  }

  /** Ends the texts after a step more; the engine runs freely again. */
  async close(): Promise<void> {
    this.#isOver = true;
    this.#engine.resume();
    await this.#streams;
  }

  /** Resolves at the end of the step with which so many were had; they are counted before. */
  #hasTokens(numTokens: number): Promise<void> {
    return new Promise((resolve) => {
      const stopListening = this.#engine.onStep(() => {
        if (this.#numTokens < numTokens) return;
        stopListening();
        resolve();
      });
    });
  }

  async #stream(): Promise<void> {
    const { prompts, params } = this.#options;
    while (!this.#isOver) {
      const text = this.#numTexts++;
      const promptTokenIds = prompts[text % prompts.length] ?? [0];
      const ownParams = { ...params, maxTokens: textLength(text, params.maxTokens) };
      const request = { id: `load-${numRequests++}`, choice: 0, promptTokenIds, params: ownParams };
      for await (const { finishReason, error } of this.#engine.generate(request)) {
        if (finishReason === "error") throw new Error(error ?? "the engine failed");
        if (this.#isOver) break;
      }
    }
  }
}
