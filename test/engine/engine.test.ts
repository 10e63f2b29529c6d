import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { EngineOutput, StepStats } from "../../engine/client.ts";
import { createEngine } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { EngineDeadError, EngineRequestError } from "../../engine/errors.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { generate } from "../support/collect.ts";
import { Random } from "../support/random.ts";

const MAX_MODEL_LEN = 256;
const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);
const promptOf = (i: number) => prompts[i % prompts.length] ?? [];

/** The small model as target: what these tests look at does not depend on how good it is. */
async function openEngine(): Promise<Engine> {
  const options = {
    model: "sapling-2m-draft",
    drafter: "suffix",
    adapter: "software",
    maxModelLen: MAX_MODEL_LEN,
    treeBudget: "fixed",
  } as const;
  return (await createEngine(options)).client as Engine;
}

/** Waits for the step under way, after which nothing is held. @throws AssertionError when something still is. */
async function expectIdle(engine: Engine): Promise<void> {
  await vi.waitFor(() => expect(engine.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }), 5_000);
  engine.checkIntegrity();
}

describe("engine", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine();
  });
  afterAll(() => engine.close());

  const request = (id: string, promptTokenIds: readonly number[] = promptOf(0), maxTokens = 32) => ({
    ...{ id, choice: 0, promptTokenIds },
    params: { ...GREEDY, maxTokens },
  });

  it("refuses what it can never serve, naming value and limit", () => {
    const code = (run: () => unknown) => {
      try {
        run();
      } catch (error) {
        if (error instanceof EngineRequestError) return `${error.code}: ${error.message}`;
      }
      return "nothing was refused";
    };
    expect(code(() => engine.generate(request("a", [])))).toMatch(/^empty_prompt/);
    expect(code(() => engine.generate(request("a", [1, 4096])))).toMatch(/^invalid_token_id: .*4096.*4095/);
    expect(code(() => engine.generate(request("a", [1, -1])))).toMatch(/^invalid_token_id: .*-1/);
    const loud = { ...request("a", [1]), params: { ...GREEDY, logprobs: 21 } };
    expect(code(() => engine.generate(loud))).toMatch(/^invalid_sampling_params: .*21.* 20/);
    expect(code(() => engine.generate(request("a", new Array(256).fill(1))))).toMatch(
      /^context_length_exceeded: 256.*256/,
    );
    expect(engine.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 });
  });

  it("refuses an id that is in flight", async () => {
    const first = engine.generate(request("twice"));
    expect(() => engine.generate(request("twice"))).toThrow(EngineRequestError);
    for await (const output of first) expect(output.tokenIds.length).toBeGreaterThan(0);
  });

  it("ends at an end token, which is emitted last, also inside an accepted run", async () => {
    const { tokenIds } = await generate(engine, promptOf(1), { ...GREEDY, maxTokens: 60 });
    for (const position of [0, 7, 31, 59]) {
      const end = tokenIds[position] ?? 0;
      const first = tokenIds.indexOf(end);
      const run = await generate(engine, promptOf(1), { ...GREEDY, maxTokens: 60, stopTokenIds: [end] });
      expect(run.tokenIds).toEqual(tokenIds.slice(0, first + 1));
      expect(run.finishReason).toBe("stop");
    }
  });

  it("ends at maxTokens and at the context's end with length", async () => {
    const short = await generate(engine, promptOf(2), { ...GREEDY, maxTokens: 5 });
    expect([short.tokenIds.length, short.finishReason]).toEqual([5, "length"]);
    const prompt = Array.from({ length: 250 }, (_, i) => promptOf(3)[i % promptOf(3).length] ?? 0);
    const full = await generate(engine, prompt, { ...GREEDY, maxTokens: 50 });
    expect([full.tokenIds.length, full.finishReason]).toEqual([6, "length"]);
  });

  it("counts in its statistics what it gives", async () => {
    const steps: StepStats[] = [];
    const stop = engine.onStep((stats) => steps.push(stats));
    const run = await generate(engine, promptOf(4), { ...GREEDY, maxTokens: 40 });
    stop();
    const sum = (pick: (stats: StepStats) => number) => steps.reduce((total, stats) => total + pick(stats), 0);
    expect(sum(({ numEmittedTokens }) => numEmittedTokens)).toBe(40);
    expect(sum(({ numPrefillTokens }) => numPrefillTokens)).toBe(promptOf(4).length);
    const sequences = steps.flatMap((stats) => stats.sequences);
    expect(sequences.reduce((total, { numDraft }) => total + numDraft, 0)).toBe(run.numDraft);
    for (const { tree, numAccepted } of sequences) {
      if (tree) expect(tree.accepted.filter(Boolean)).toHaveLength(numAccepted + 1);
    }
    await generate(engine, promptOf(4), { ...GREEDY, maxTokens: 4 });
    expect(sum(({ numEmittedTokens }) => numEmittedTokens)).toBe(40);
  });

  it("says how long a sequence waited for its first step", async () => {
    const { maxNumSeqs } = engine.info;
    const runs = await Promise.all(
      Array.from({ length: maxNumSeqs + 1 }, (_, i) => generate(engine, promptOf(i), { ...GREEDY, maxTokens: 8 })),
    );
    const waits = runs.map(({ outputs }) => new Set(outputs.map(({ queueMs }) => queueMs)));
    expect(waits.every(({ size }) => size === 1)).toBe(true);
    const [[first = Number.NaN] = [], [last = Number.NaN] = []] = [waits[0], waits.at(-1)].map((set) => [
      ...(set ?? []),
    ]);
    expect(first).toBeGreaterThanOrEqual(0);
    // It was let in when one of the others had ended.
    expect(last).toBeGreaterThan(first);
  });

  it("aborts by signal, before and after the first token", async () => {
    const early = new AbortController();
    early.abort();
    const outputs: EngineOutput[] = [];
    for await (const output of engine.generate(request("early"), early.signal)) outputs.push(output);
    expect(outputs).toEqual([{ tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "abort" }]);
    const late = new AbortController();
    let last: EngineOutput | undefined;
    for await (const output of engine.generate(request("late", promptOf(5), 200), late.signal)) {
      late.abort();
      last = output;
    }
    expect(last?.finishReason).toBe("abort");
    await expectIdle(engine);
  });

  it("200 readers leave mid-stream: all blocks come back, other streams keep their text", async () => {
    const params = { ...GREEDY, temperature: 0.8, seed: [11, 0] as const, maxTokens: 120 };
    const alone = await Promise.all([0, 1].map((i) => generate(engine, promptOf(i), params)));
    const steadies = [0, 1].map((i) => generate(engine, promptOf(i), params));
    const random = new Random(1);
    let numAborted = 0;
    const leave = async (i: number) => {
      let numLeft = random.int(0, 4);
      for await (const output of engine.generate(request(`leaver-${i}`, promptOf(i), 100))) {
        if (output.finishReason !== undefined) return;
        if (numLeft-- === 0) {
          numAborted++;
          return;
        }
      }
    };
    await Promise.all(Array.from({ length: 200 }, (_, i) => leave(i)));
    const beside = await Promise.all(steadies);
    expect(beside.map(({ tokenIds }) => tokenIds)).toEqual(alone.map(({ tokenIds }) => tokenIds));
    expect(numAborted).toBeGreaterThan(150);
    await expectIdle(engine);
  });
});

describe("engine at its end", () => {
  it("close ends streams with abort, and nothing is served afterwards", async () => {
    const engine = await openEngine();
    const stream = engine.generate({ id: "a", choice: 0, promptTokenIds: promptOf(0), params: GREEDY });
    await engine.close();
    const outputs: EngineOutput[] = [];
    for await (const output of stream) outputs.push(output);
    expect(outputs.at(-1)?.finishReason).toBe("abort");
    expect(() => engine.generate({ id: "b", choice: 0, promptTokenIds: [1], params: GREEDY })).toThrow(EngineDeadError);
    expect(() => engine.load()).toThrow(EngineDeadError);
  });
});
