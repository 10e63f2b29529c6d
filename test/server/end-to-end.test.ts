import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createEngine } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { ModelText } from "../../engine/text/model-text.ts";
import { Scheduler } from "../../scheduler/scheduler.ts";
import { type App, buildApp } from "../../server/app.ts";
import { LocalTextService } from "../../server/text-service.ts";

/** Answers that others come and go beside. */
const STEADY_TOKENS = 150;
/** Small, so that steps are short: what these tests look at does not depend on how good the model is. */
const MODEL = {
  model: "sapling-2m-draft",
  drafter: "suffix",
  adapter: "software",
  checkInvariants: true,
  maxModelLen: 256,
  treeBudget: "fixed",
} as const;
const STORY = { model: "story", temperature: 0.8, seed: 7, max_tokens: 48 };
const ask = (i: number) => [{ role: "user" as const, content: `Tell me story number ${i}.` }];

let engine: Engine;
let app: App;
let openai: OpenAI;
beforeAll(async () => {
  const created = await createEngine(MODEL);
  engine = created.client as Engine;
  app = await buildApp({
    client: engine,
    model: { names: ["story"], generationDefaults: {}, created: 1 },
    text: new LocalTextService(new ModelText(created.model.text)),
    apiKeys: [],
    doors: { host: "127.0.0.1", allowedHosts: [], allowedOrigins: [] },
    maxQueue: 256,
  });
  await app.server.listen({ host: "127.0.0.1", port: 0 });
  const { port } = app.server.server.address() as AddressInfo;
  openai = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  app.server.server.closeAllConnections();
  await app.server.close();
  await engine.close();
});

async function tell(i: number, max_tokens = STORY.max_tokens): Promise<string> {
  const answer = await openai.chat.completions.create({ ...STORY, max_tokens, messages: ask(i) });
  return answer.choices[0]?.message.content ?? "";
}

async function stream(i: number, max_tokens = STORY.max_tokens, numChunks = Number.POSITIVE_INFINITY): Promise<string> {
  const chunks = await openai.chat.completions.create({ ...STORY, max_tokens, messages: ask(i), stream: true });
  let text = "";
  let numLeft = numChunks;
  for await (const { choices } of chunks) {
    const content = choices[0]?.delta.content ?? "";
    text += content;
    // The client aborts the request when its loop is left.
    if (content !== "" && --numLeft <= 0) break;
  }
  return text;
}

/** Reads `numChunks` pieces of a text and goes. @returns what it read. */
const leaveAfter = (numChunks: number, i: number) => stream(i, STORY.max_tokens, numChunks);

/** Waits for the step under way, after which nothing is held. @throws AssertionError when something still is. */
async function expectIdle(): Promise<void> {
  await vi.waitFor(() => expect(engine.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }), 10_000);
  engine.checkIntegrity();
  expect(app.admission.numRequests).toBe(0);
}

/** For each sequence whose connection closes before its end: in how many steps that end later it still is. */
function watchAborted() {
  const numStepsAfter = new Map<string, number>();
  const { generate } = engine;
  const { commit } = Scheduler.prototype;
  const spies = [
    vi.spyOn(engine, "generate").mockImplementation((request, signal) => {
      signal?.addEventListener("abort", () => numStepsAfter.set(request.id, 0));
      return generate.call(engine, request, signal);
    }),
    vi.spyOn(Scheduler.prototype, "commit").mockImplementation(function (this: Scheduler, output, results) {
      for (const { sequence } of output.sequences) {
        const numSteps = numStepsAfter.get(sequence.id);
        if (numSteps !== undefined) numStepsAfter.set(sequence.id, numSteps + 1);
      }
      return commit.call(this, output, results);
    }),
  ];
  return {
    end: (): readonly number[] => {
      for (const spy of spies) spy.mockRestore();
      return [...numStepsAfter.values()];
    },
  };
}

describe("server and engine", () => {
  it("give the official client the same text streamed, whole, and as one of two choices", async () => {
    const whole = await tell(0);
    expect(whole.length).toBeGreaterThan(50);
    expect(await stream(0)).toBe(whole);
    const two = await openai.chat.completions.create({ ...STORY, messages: ask(0), n: 2 });
    expect(two.choices[0]?.message.content).toBe(whole);
    expect(two.choices[1]?.message.content).not.toBe(whole);
  });

  it("bad requests do not reach the engine", async () => {
    let numSteps = 0;
    const stop = engine.onStep(() => {
      numSteps += 1;
    });
    const bad = [{ temperature: 9 }, { n: 1e6 }, { max_tokens: 1e6 }, { seed: 0.5 }, { stop: [""] }, { top_p: -1 }];
    for (const wrong of bad) {
      const refused = openai.chat.completions.create({ ...STORY, messages: ask(0), ...wrong });
      await expect(refused).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    }
    const foreign = openai.completions.create({ model: "story", prompt: [engine.info.vocabSize] });
    await expect(foreign).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    stop();
    expect(numSteps).toBe(0);
    await expectIdle();
  });

  it("200 clients leave mid-stream: none is computed for more than two steps after it, all blocks come back, other streams keep their text", async () => {
    const alone = [await tell(1, STEADY_TOKENS), await tell(2, STEADY_TOKENS)];
    const watch = watchAborted();
    const steady = [stream(1, STEADY_TOKENS), stream(2, STEADY_TOKENS)];
    const left = await Promise.all(Array.from({ length: 200 }, (_, i) => leaveAfter(1 + (i % 3), i)));
    const beside = await Promise.all(steady);
    expect(beside).toEqual(alone);
    expect(left.filter((text) => text === "")).toEqual([]);
    await expectIdle();
    const numStepsAfter = watch.end();
    expect(numStepsAfter.length).toBeGreaterThan(150);
    // Its blocks came back with the last of them: the invariants, which are checked after each step, know no other holders than
    // sequences that run or are in a step in flight.
    expect(Math.max(...numStepsAfter)).toBeLessThanOrEqual(2);
    expect(numStepsAfter).toContain(1);
    const [, cancelled] = /sse_cancellations_total (\d+)/.exec(await app.metrics.render()) ?? [];
    // A text that ended with the very chunk after which its reader left was not cancelled.
    expect(Number(cancelled)).toBeGreaterThan(150);
  }, 600_000);
});
