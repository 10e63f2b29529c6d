import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { StepStats } from "../../engine/client.ts";
import { createEngine } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
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
    checkInvariants: true,
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

  it("takes no step while it is paused, counts none of that time, and goes on with the same text", async () => {
    const params = { ...GREEDY, maxTokens: 48 };
    const wanted = await generate(engine, promptOf(4), params);
    const [numPauses, pauseMs] = [4, 50];
    const steps: StepStats[] = [];
    const startMs = performance.now();
    const stopListening = engine.onStep((step) => steps.push(step));
    const run = generate(engine, promptOf(4), params);
    for (let i = 0; i < numPauses; i++) {
      const numBefore = steps.length;
      await vi.waitFor(() => expect(steps.length).toBeGreaterThan(numBefore), { interval: 1 });
      await engine.pause();
      const { length } = steps;
      await setTimeout(pauseMs);
      expect(steps.length).toBe(length);
      engine.resume();
    }
    expect((await run).tokenIds).toEqual(wanted.tokenIds);
    stopListening();
    // A timer may end a millisecond early.
    const stepsMs = steps.reduce((sum, { stepMs }) => sum + stepMs, 0);
    expect(stepsMs).toBeLessThan(performance.now() - startMs - numPauses * (pauseMs - 1));
    await expectIdle(engine);
  });

  it("ends what is queued while it is paused, when it is closed", async () => {
    const paused = await openEngine();
    await paused.pause();
    const run = generate(paused, promptOf(0), { ...GREEDY, maxTokens: 8 });
    await paused.close();
    expect((await run).finishReason).toBe("abort");
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
