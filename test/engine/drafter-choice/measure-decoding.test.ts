import { expect, test } from "vitest";
import type { EngineOutput, EngineRequest } from "../../../engine/client.ts";
import { type DecodingTrial, measureDecoding } from "../../../engine/drafter-choice/measure-decoding.ts";
import { FakeEngine } from "../../support/fake-engine.ts";

/** One step of an answer: how long it takes, and what it gives. */
interface TimedStep {
  readonly ms: number;
  readonly numTokens: number;
}

const PREFILL = { ms: 500, numTokens: 1 };
const STEP = { ms: 20, numTokens: 3 };

/** An engine on a clock of its own. It remembers what it was asked, and how many tokens it gave to whom. */
class TimedEngine extends FakeEngine {
  ms = 0;
  readonly given: number[] = [];
  readonly #answer: (numBefore: number) => readonly TimedStep[];

  constructor(answer: (numBefore: number) => readonly TimedStep[]) {
    super({ answer: () => [] });
    this.#answer = answer;
  }

  override async *generate(request: EngineRequest): AsyncGenerator<EngineOutput> {
    const steps = this.#answer(this.requests.length);
    this.requests.push(request);
    const at = this.given.push(0) - 1;
    for (const { ms, numTokens } of steps) {
      this.ms += ms;
      this.given[at] = (this.given[at] ?? 0) + numTokens;
      const tokenIds = Array.from({ length: numTokens }, (_, i) => i);
      yield { tokenIds, numAccepted: Math.max(0, numTokens - 1), numDraft: 7 };
    }
    yield { tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "stop" };
  }
}

const TRIAL: DecodingTrial = {
  ...{ prompts: [[1, 2], [3], [4, 5, 6]], endTokenIds: [9], maxTokens: 31, warmUpMs: 0, maxSteps: 99, limitMs: 1e6 },
};
const measure = (engine: TimedEngine, trial: Partial<DecodingTrial> = {}) =>
  measureDecoding(engine, { ...TRIAL, ...trial }, () => engine.ms);

test("tokens of a step over the time between an answer's outputs, without its first; other work slows most of them down", async () => {
  const engine = new TimedEngine(() => [PREFILL, STEP, { ms: 90, numTokens: 3 }, { ms: 70, numTokens: 1 }]);
  const figures = await measure(engine);
  expect(figures?.acceptanceLength).toBeCloseTo(7 / 3);
  expect(figures?.tokensPerSecond).toBeCloseTo(7 / 3 / 0.02);
  expect(engine.requests.map(({ promptTokenIds }) => promptTokenIds)).toEqual([[1, 2], ...TRIAL.prompts]);
  expect(engine.requests.map(({ params }) => params.maxTokens)).toEqual([4, 31, 31, 31]);
  expect(engine.requests.at(-1)?.params).toMatchObject({ temperature: 0, stopTokenIds: [9] });
});

test("what warms up does not count, and goes on for its time", async () => {
  const slow = { ms: 300, numTokens: 1 };
  const engine = new TimedEngine((numBefore) => (numBefore < 4 ? [slow, slow] : [PREFILL, STEP]));
  expect(await measure(engine, { warmUpMs: 2_000 })).toEqual({ tokensPerSecond: 150, acceptanceLength: 3 });
  expect(engine.requests).toHaveLength(4 + 3);
});

test("the time limit ends an answer in its middle, and begins no other", async () => {
  const engine = new TimedEngine(() => [{ ms: 0, numTokens: 1 }, ...Array.from({ length: 9 }, () => STEP)]);
  expect(await measure(engine, { limitMs: 80 })).toEqual({ tokensPerSecond: 150, acceptanceLength: 3 });
  expect(engine.given).toEqual([28, 13]);
});

test("so does the number of steps", async () => {
  const engine = new TimedEngine(() => [PREFILL, STEP, STEP, STEP]);
  expect(await measure(engine, { maxSteps: 4 })).toEqual({ tokensPerSecond: 150, acceptanceLength: 3 });
  // What warms up is not cut; then an answer of three steps, and one of another.
  expect(engine.given).toEqual([10, 10, 4]);
});

test("there is no figure where nothing is decoded", async () => {
  expect(await measure(new TimedEngine(() => [PREFILL]))).toBeUndefined();
});

test("an engine that fails is an error", async () => {
  const engine = new FakeEngine({ answer: () => [{ tokenIds: [1], numAccepted: 0 }], failAfterSteps: 0 });
  await expect(measureDecoding(engine, TRIAL, () => 0)).rejects.toThrow();
});
