import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { post, startApp, stepsOf, type TestApp } from "../support/test-app.ts";

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const user = [{ role: "user", content: "hi" }];
const deep = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;

/** path, body, code, what the message names */
const BAD: readonly (readonly [name: string, path: string, body: unknown, code: string, message: RegExp])[] = [
  ["half a body", COMPLETIONS, '{"prompt": "a"', "invalid_json", /not valid JSON/],
  ["no body", COMPLETIONS, "", "invalid_json", /empty/],
  ["a body that is a list", COMPLETIONS, "[]", "invalid_value", /JSON object/],
  ["a body that is a number", COMPLETIONS, "3", "invalid_value", /JSON object/],
  ["a body that is null", COMPLETIONS, "null", "invalid_value", /JSON object/],
  ["__proto__", COMPLETIONS, '{"prompt":"a","__proto__":{"n":3}}', "invalid_json", /__proto__/],
  [
    "__proto__ further down",
    CHAT,
    '{"messages":[{"role":"user","content":"a","__proto__":{}}]}',
    "invalid_json",
    /__proto__/,
  ],
  ["depth 100", COMPLETIONS, deep(100), "invalid_json", /deeper than 64/],
  ["depth 200,000", COMPLETIONS, deep(200_000), "invalid_json", /deeper than 64/],
  ["1e400", COMPLETIONS, '{"prompt":"a","temperature":1e400}', "invalid_value", /temperature/],
  ["NaN", COMPLETIONS, '{"prompt":"a","temperature":NaN}', "invalid_json", /not valid JSON/],
  [
    "bad UTF-8",
    COMPLETIONS,
    Uint8Array.from([...Buffer.from('{"prompt":"'), 0xff, 0xfe, ...Buffer.from('"}')]),
    "invalid_json",
    /UTF-8/,
  ],
  ["no prompt", COMPLETIONS, {}, "invalid_value", /prompt.*missing/],
  ["an empty prompt", COMPLETIONS, { prompt: "" }, "empty_prompt", /empty/],
  ["an empty list of prompts", COMPLETIONS, { prompt: [] }, "empty_prompt", /empty/],
  ["one empty prompt of two", COMPLETIONS, { prompt: ["a", ""] }, "empty_prompt", /empty/],
  ["a foreign token id", COMPLETIONS, { prompt: [1, 4096] }, "invalid_token_id", /4096.*4095/],
  ["a negative token id", COMPLETIONS, { prompt: [1, -1] }, "invalid_value", /prompt\.1: .*token id.*-1/],
  ["half a token id", COMPLETIONS, { prompt: [[1], [2, 1.5]] }, "invalid_value", /prompt\.1\.1: .*token id.*1\.5/],
  ["a prompt of both kinds", COMPLETIONS, { prompt: [[1], "a"] }, "invalid_value", /prompt\.1: .*array.*"a"/],
  ["65 prompts", COMPLETIONS, { prompt: new Array(65).fill("a") }, "invalid_value", /prompt: .*64.*a list of 65/],
  [
    "1,025 parts of a content",
    CHAT,
    { messages: [{ role: "user", content: new Array(1025).fill({ type: "text", text: "" }) }] },
    "invalid_value",
    /messages\.0\.content: .*1024.*a list of 1025/,
  ],
  ["huge n", COMPLETIONS, { prompt: "a", n: 1e9 }, "invalid_value", /n: .*16.*1000000000/],
  ["n of 0", CHAT, { messages: user, n: 0 }, "invalid_value", /n: .*0/],
  ["prompts times n", COMPLETIONS, { prompt: new Array(20).fill("a"), n: 16 }, "invalid_value", /320.*128/],
  ["temperature 3", COMPLETIONS, { prompt: "a", temperature: 3 }, "invalid_value", /temperature: .*2.*3/],
  ["a negative temperature", COMPLETIONS, { prompt: "a", temperature: -0.1 }, "invalid_value", /temperature/],
  ["temperature as text", COMPLETIONS, { prompt: "a", temperature: "1" }, "invalid_value", /temperature/],
  ["top_p of 0", COMPLETIONS, { prompt: "a", top_p: 0 }, "invalid_value", /top_p/],
  ["top_p of 2", COMPLETIONS, { prompt: "a", top_p: 2 }, "invalid_value", /top_p/],
  ["top_k of 1.5", COMPLETIONS, { prompt: "a", top_k: 1.5 }, "invalid_value", /top_k/],
  ["min_p of 2", COMPLETIONS, { prompt: "a", min_p: 2 }, "invalid_value", /min_p/],
  [
    "a prediction of another type",
    COMPLETIONS,
    { prompt: "a", prediction: { type: "x", content: "" } },
    "invalid_value",
    /prediction/,
  ],
  ["a seed of 0.5", COMPLETIONS, { prompt: "a", seed: 0.5 }, "invalid_value", /seed/],
  ["max_tokens of 0", COMPLETIONS, { prompt: "a", max_tokens: 0 }, "invalid_value", /max_tokens/],
  [
    "max_completion_tokens of −1",
    CHAT,
    { messages: user, max_completion_tokens: -1 },
    "invalid_value",
    /max_completion_tokens/,
  ],
  ["half a priority", COMPLETIONS, { prompt: "a", priority: 0.5 }, "invalid_value", /priority.*0.5/],
  [
    "a priority beyond 32 bits",
    COMPLETIONS,
    { prompt: "a", priority: 2 ** 31 },
    "invalid_value",
    /priority.*2147483648/,
  ],
  ["no time", CHAT, { messages: user, timeout: 0 }, "invalid_value", /timeout.*0/],
  ["more than a day", COMPLETIONS, { prompt: "a", timeout: 86401 }, "invalid_value", /timeout.*86400.*86401/],
  ["17 stops", COMPLETIONS, { prompt: "a", stop: new Array(17).fill("x") }, "invalid_value", /stop.*16/],
  ["a stop of 257 characters", COMPLETIONS, { prompt: "a", stop: "x".repeat(257) }, "invalid_value", /stop.*256/],
  ["an empty stop", COMPLETIONS, { prompt: "a", stop: "" }, "invalid_value", /stop/],
  ["stream as text", COMPLETIONS, { prompt: "a", stream: "yes" }, "invalid_value", /stream/],
  ["more than the context", COMPLETIONS, { prompt: "a", max_tokens: 256 }, "context_length_exceeded", /256/],
  [
    "a prompt as long as the context",
    COMPLETIONS,
    { prompt: new Array(256).fill(5) },
    "context_length_exceeded",
    /256/,
  ],
  [
    "a chat as long as the context",
    CHAT,
    { messages: [{ role: "user", content: "many words ".repeat(300) }] },
    "context_length_exceeded",
    /256/,
  ],
  ["too many characters", COMPLETIONS, { prompt: "a".repeat(2 ** 21 + 1) }, "invalid_value", /2097153.*2097152/],
  [
    "too many characters together",
    COMPLETIONS,
    { prompt: ["a".repeat(2 ** 21), "a"] },
    "invalid_value",
    /prompt: .*2097153.*2097152/,
  ],
  [
    "too many characters of messages",
    CHAT,
    { messages: [...user, { role: "user", content: "a".repeat(2 ** 21 - 1) }] },
    "invalid_value",
    /messages has 2097153.*2097152/,
  ],
  ["no messages", CHAT, {}, "invalid_value", /messages.*missing/],
  ["an empty conversation", CHAT, { messages: [] }, "invalid_value", /messages/],
  [
    "an unknown role",
    CHAT,
    { messages: [{ role: "wizard", content: "a" }] },
    "invalid_value",
    /messages\.0\.role.*wizard/,
  ],
  [
    "a picture",
    CHAT,
    { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
    "invalid_value",
    /messages\.0\.content/,
  ],
  ["a message without content", CHAT, { messages: [{ role: "user" }] }, "invalid_value", /messages\.0\.content/],
  ["a client's template", CHAT, { messages: user, chat_template: "{{ 1 }}" }, "unsupported_parameter", /chat_template/],
  ["tools", CHAT, { messages: user, tools: [{ type: "function" }] }, "unsupported_parameter", /tools/],
  [
    "JSON mode",
    CHAT,
    { messages: user, response_format: { type: "json_object" } },
    "unsupported_parameter",
    /response_format/,
  ],
  ["llama.cpp's penalty", COMPLETIONS, { prompt: "a", repeat_penalty: 1.1 }, "unsupported_parameter", /repeat_penalty/],
  ["best_of", COMPLETIONS, { prompt: "a", best_of: 2 }, "unsupported_parameter", /best_of/],
  ["echo", COMPLETIONS, { prompt: "a", echo: true }, "unsupported_parameter", /echo/],
  ["an unknown extension", COMPLETIONS, { prompt: "a", canopy: { magic: true } }, "invalid_value", /canopy/],
];

describe("bad requests", () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp({ answer: () => stepsOf("fine") });
  });
  afterAll(() => app.close());

  it.each(BAD)("%s: 400 that names it, and the engine is not touched", async (_, path, body, code, message) => {
    for (const stream of [false, true]) {
      const isPlain = typeof body === "object" && body !== null && !(body instanceof Uint8Array) && !("stream" in body);
      const answer = await post(app, path, isPlain && stream ? { ...body, stream } : body);
      expect(answer.status, answer.text).toBe(400);
      const { error } = JSON.parse(answer.text);
      expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
      expect([error.code, error.type]).toEqual([code, "invalid_request_error"]);
      expect(error.message).toMatch(message);
    }
    expect(app.engine.requests).toEqual([]);
  });

  it("values that change nothing are taken, null among them", async () => {
    const answer = await post(app, CHAT, {
      ...{ messages: user, model: null, temperature: null, stop: null, stream: null, max_tokens: 5, n: 1, best_of: 1 },
      ...{ logprobs: false, tools: [], tool_choice: "none", presence_penalty: 0, response_format: { type: "text" } },
      ...{ user: "u", unheard_of: { a: 1 } },
    });
    expect(answer.status, answer.text).toBe(200);
  });

  it.each([
    [COMPLETIONS, { prompt: ["a lamp. ".repeat(2 ** 17), "a lamp. ".repeat(2 ** 17)] }],
    [CHAT, { messages: [...user, { role: "user", content: "a".repeat(2 ** 21 - 2) }] }],
  ])("%s: as many characters as are taken are too many tokens only", async (path, body) => {
    const answer = await post(app, path, body);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([400, "context_length_exceeded"]);
  });

  it.each([
    ["an unknown model", 404, "model_not_found", () => post(app, CHAT, { messages: user, model: "gpt-9" })],
    ["an unknown route", 404, "not_found", () => post(app, "/v1/nothing", {})],
    ["text/plain", 415, "unsupported_media_type", () => post(app, CHAT, "{}", { "content-type": "text/plain" })],
    ["9 MiB", 413, "payload_too_large", () => post(app, CHAT, `"${"a".repeat(9 * 2 ** 20)}"`)],
    [
      "a rebound host",
      403,
      "forbidden_origin",
      () => post(app, CHAT, { messages: user }, { origin: "https://evil.example" }),
    ],
  ] as const)("%s is a %i", async (_, status, code, send) => {
    const answer = await send();
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text).error.code).toBe(code);
  });
});
