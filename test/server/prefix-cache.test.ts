import { afterEach, describe, expect, it } from "vitest";
import { post, startApp, stepsOf, type TestApp } from "../support/test-app.ts";

const ANSWER = stepsOf("Fine, and you?");
let app: TestApp | undefined;
afterEach(() => app?.close());

const completion = { prompt: [5, 6, 7, 8, 9], max_tokens: 64 };

describe("cached tokens", () => {
  it("of the prompt are in usage and timings, in a whole answer and in a stream", async () => {
    app = await startApp({ answer: () => ANSWER, numCachedTokens: () => 3 });
    const whole = JSON.parse((await post(app, "/v1/completions", completion)).text);
    expect(whole.usage).toMatchObject({ prompt_tokens: 5, prompt_tokens_details: { cached_tokens: 3 } });
    expect(whole.timings).toMatchObject({ cache_n: 3, prompt_n: 2 });
    const streamed = { ...completion, stream: true, stream_options: { include_usage: true } };
    const { text } = await post(app, "/v1/completions", streamed);
    expect(text).toContain('"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":3}');
  });

  it("count once a prompt, as its first choice found it, as prompt tokens do", async () => {
    app = await startApp({
      answer: () => ANSWER,
      numCachedTokens: ({ choice, promptTokenIds }) => (choice === 0 ? 1 : promptTokenIds.length),
    });
    const body = {
      ...completion,
      prompt: [
        [5, 6, 7],
        [8, 9],
      ],
      n: 3,
    };
    const { usage } = JSON.parse((await post(app, "/v1/completions", body)).text);
    expect(usage).toMatchObject({ prompt_tokens: 5, prompt_tokens_details: { cached_tokens: 2 } });
  });
});

describe("the salt that a request gives the engine", () => {
  it("tells keys apart, is the same for all requests of one, and is not the key", async () => {
    app = await startApp({ answer: () => ANSWER }, { apiKeys: ["key-a", "key-b"] });
    for (const key of ["key-a", "key-b", "key-a"])
      await post(app, "/v1/completions", completion, { authorization: `Bearer ${key}` });
    await post(
      app,
      "/v1/chat/completions",
      { messages: [{ role: "user", content: "hi" }] },
      { authorization: "bearer key-b" },
    );
    const [a, b, ...more] = app.engine.requests.map(({ cacheSalt }) => cacheSalt);
    expect(a).not.toBe(b);
    expect(more).toEqual([a, b]);
    expect(`${a} ${b}`).not.toMatch(/key/);
  });

  it("is one for all callers where there are no keys", async () => {
    app = await startApp({ answer: () => ANSWER });
    for (let i = 0; i < 2; i++) await post(app, "/v1/completions", completion);
    expect(app.engine.requests.map(({ cacheSalt }) => cacheSalt)).toEqual(["", ""]);
  });
});
