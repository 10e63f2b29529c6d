import { describe, expect, it } from "vitest";
import { firstEvent, post, stepsOf, useApps } from "../support/test-app.ts";

const startApp = useApps();
const ANSWER = { answer: () => stepsOf("Once upon a time") };

describe("the dashboard of a server", () => {
  it.each([
    ["without keys", [], true],
    ["of one key", ["one"], true],
    ["that several keys share", ["one", "two"], false],
  ])("%s shows draft trees, which are pieces of texts: %s %s", async (_, apiKeys, showsTrees) => {
    const app = await startApp(ANSWER, { apiKeys });
    const headers = { authorization: `Bearer ${apiKeys[0] ?? ""}` };
    const { message } = await firstEvent(`${app.url}/dashboard/feed`, { headers });
    expect(message).toMatchObject({ info: { showsTrees } });
  });
});

describe("where the KV cache holds less than the model's context", () => {
  const small = { ...ANSWER, info: { numKvBlocks: 9 } };

  it("models say what a request may have", async () => {
    const app = await startApp(small);
    const { data } = (await (await fetch(`${app.url}/v1/models`)).json()) as { data: { max_model_len: number }[] };
    expect(data[0]?.max_model_len).toBe(128);
  });

  it("a text that would be cut is refused, with the numbers", async () => {
    const app = await startApp(small);
    const { status, text } = await post(app, "/v1/completions", { prompt: "Once", max_tokens: 200 });
    expect(status).toBe(400);
    expect(text).toMatch(/the KV cache holds 128; ask for at most 12\d/);
  });
});
