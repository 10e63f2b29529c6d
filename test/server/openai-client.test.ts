import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApp, stepsOf, TEXT, type TestApp } from "../support/test-app.ts";

const STORY = "Once upon a time there was a farmer who fixed a candle. It burned brightly — and warmed the café!";
const messages = [{ role: "user" as const, content: "Tell me a story." }];

describe("the official openai client", () => {
  let app: TestApp;
  let openai: OpenAI;
  beforeAll(async () => {
    app = await startApp({ answer: () => stepsOf(STORY) }, { apiKeys: ["sk-test"] });
    openai = new OpenAI({ baseURL: `${app.url}/v1`, apiKey: "sk-test", maxRetries: 0 });
  });
  afterAll(() => app.close());

  it("completes a chat", async () => {
    const answer = await openai.chat.completions.create({ model: "fake", messages, temperature: 0 });
    expect(answer.choices[0]?.message).toMatchObject({ role: "assistant", content: STORY });
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    const numTokens = stepsOf(STORY).flatMap(({ tokenIds }) => tokenIds).length;
    expect(answer.usage?.completion_tokens).toBe(numTokens);
    expect(answer.usage?.total_tokens).toBe((answer.usage?.prompt_tokens ?? 0) + numTokens);
    expect(answer.system_fingerprint).toBe("fake-1");
  });

  it("reads log-probabilities, of chat and of completions", async () => {
    const chat = await openai.chat.completions.create({ model: "fake", messages, logprobs: true, top_logprobs: 3 });
    const tokens = chat.choices[0]?.logprobs?.content ?? [];
    expect(
      Buffer.from(tokens.flatMap(({ bytes }) => bytes ?? []))
        .toString()
        .trimStart(),
    ).toBe(STORY);
    expect(tokens.every(({ top_logprobs: top, logprob }) => top.length === 3 && top[0]?.logprob === logprob)).toBe(
      true,
    );
    const text = await openai.completions.create({ model: "fake", prompt: "Once", max_tokens: 5, logprobs: 3 });
    expect(text.choices[0]?.logprobs?.tokens?.join("")).toBe(text.choices[0]?.text);
    expect(text.choices[0]?.logprobs?.token_logprobs).toHaveLength(5);
  });

  it("streams a chat, with usage when asked", async () => {
    const stream = await openai.chat.completions.create({
      ...{ model: "alias", messages, stream: true, stream_options: { include_usage: true } },
    });
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    const reasons: unknown[] = [];
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      if (chunk.choices[0]?.finish_reason) reasons.push(chunk.choices[0].finish_reason);
      if (chunk.usage) usage = chunk.usage;
    }
    expect(text).toBe(STORY);
    expect(reasons).toEqual(["stop"]);
    expect(usage?.completion_tokens).toBe(stepsOf(STORY).flatMap(({ tokenIds }) => tokenIds).length);
  });

  it("streams two choices of a chat", async () => {
    const stream = await openai.chat.completions.create({ model: "fake", messages, n: 2, stream: true });
    const texts = ["", ""];
    for await (const { choices } of stream) {
      for (const { index, delta } of choices) texts[index] += delta.content ?? "";
    }
    expect(texts).toEqual([STORY, STORY]);
    expect(app.engine.requests.slice(-2).map(({ choice }) => choice)).toEqual([0, 1]);
    expect(new Set(app.engine.requests.slice(-2).map(({ params }) => params.seed.join())).size).toBe(1);
  });

  it("takes a predicted output as a hint, and counts what was drafted", async () => {
    const prediction = { type: "content" as const, content: [{ type: "text" as const, text: STORY }] };
    const answer = await openai.chat.completions.create({ model: "fake", messages, prediction });
    expect(app.engine.requests.at(-1)?.prediction).toEqual(TEXT.encodeAnswer(STORY));
    const steps = stepsOf(STORY);
    const numAccepted = steps.reduce((sum, step) => sum + step.numAccepted, 0);
    expect(answer.usage?.completion_tokens_details).toEqual({
      accepted_prediction_tokens: numAccepted,
      rejected_prediction_tokens: 7 * steps.length - numAccepted,
    });
    await openai.chat.completions.create({ model: "fake", messages });
    expect(app.engine.requests.at(-1)).not.toHaveProperty("prediction");
  });

  it("collects a stream with its own helper", async () => {
    const runner = openai.chat.completions.stream({ model: "fake", messages });
    expect((await runner.finalChatCompletion()).choices[0]?.message.content).toBe(STORY);
  });

  it("completes prompts, whole and streamed", async () => {
    const whole = await openai.completions.create({ model: "fake", prompt: ["a", "b"], n: 2, max_tokens: 100 });
    expect(whole.choices.map(({ index, text }) => [index, text])).toEqual([0, 1, 2, 3].map((i) => [i, STORY]));
    const stream = await openai.completions.create({ model: "fake", prompt: "a", max_tokens: 4, stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? "";
    expect(STORY.startsWith(text) && text.length > 0).toBe(true);
  });

  it("lists and retrieves models", async () => {
    const ids: string[] = [];
    for await (const model of openai.models.list()) ids.push(model.id);
    expect(ids).toEqual(["fake", "alias"]);
    expect((await openai.models.retrieve("fake")).id).toBe("fake");
  });

  it("maps refusals to its error classes", async () => {
    const ask = (client: OpenAI, more: object) => client.chat.completions.create({ model: "fake", messages, ...more });
    await expect(ask(openai, { temperature: 7 })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(ask(openai, { model: "none" })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    const stranger = new OpenAI({ baseURL: `${app.url}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
    await expect(ask(stranger, {})).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  });
});
