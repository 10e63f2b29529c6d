import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createEngine } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { ModelText } from "../../engine/text/model-text.ts";
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

  it("200 clients leave mid-stream: all blocks come back, other streams keep their text", async () => {
    const alone = [await tell(1, STEADY_TOKENS), await tell(2, STEADY_TOKENS)];
    const steady = [stream(1, STEADY_TOKENS), stream(2, STEADY_TOKENS)];
    const left = await Promise.all(Array.from({ length: 200 }, (_, i) => leaveAfter(1 + (i % 3), i)));
    const beside = await Promise.all(steady);
    expect(beside).toEqual(alone);
    expect(left.filter((text) => text === "")).toEqual([]);
    await expectIdle();
    const [, cancelled] = /sse_cancellations_total (\d+)/.exec(await app.metrics.render()) ?? [];
    // A text that ended with the very chunk after which its reader left was not cancelled.
    expect(Number(cancelled)).toBeGreaterThan(150);
  }, 600_000);

  it("a sequence is computed for two steps at most after its client has gone", async () => {
    const asked = once(app.server.server, "request");
    const left = leaveAfter(2, 3);
    const [, response] = (await asked) as [unknown, ServerResponse];
    const steady = stream(4, STEADY_TOKENS);
    const sizesAfter: number[] = [];
    let stop = () => {};
    response.once("close", () => {
      stop = engine.onStep(({ sequences }) => sizesAfter.push(sequences.length));
    });
    await Promise.all([left, steady]);
    stop();
    expect(sizesAfter.length).toBeGreaterThan(5);
    expect(sizesAfter.slice(2).every((size) => size === 1)).toBe(true);
  });
});
