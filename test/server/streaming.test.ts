import { connect } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { post, stepsOf, TEXT, useApps } from "../support/test-app.ts";

const STORY = "A cat sat on the mat, and the café warmed its paws: 猫 🐈 are happy there. The end of it all.";
const LONG = STORY.repeat(40);
const WIDE_STEPS = stepsOf(LONG, 40);
const start = useApps();

/** The data of each event, and what was not an event. */
function eventsOf(text: string): string[] {
  const blocks = text.split("\n\n");
  expect(blocks.pop()).toBe("");
  return blocks.map((block) => {
    expect(block).toMatch(/^data: [^\n]*$/);
    return block.slice("data: ".length);
  });
}

describe("a stream", () => {
  it("of a chat has the order that clients expect, to the byte", async () => {
    const app = await start({ answer: () => stepsOf("Hi, you!", 2) });
    const messages = [{ role: "user", content: "x" }];
    const body = { messages, stream: true, stream_options: { include_usage: true }, max_tokens: 50 };
    const { status, headers, text } = await post(app, "/v1/chat/completions", body);
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(headers.get("x-request-id")).toMatch(/^[\w-]{36}$/);
    const events = eventsOf(text);
    expect(events.pop()).toBe("[DONE]");
    const head =
      /^\{"id":"chatcmpl-[0-9a-f]{32}","created":\d+,"model":"fake","system_fingerprint":"fake-1","object":"chat.completion.chunk","choices":/;
    const tails = events.map((event) => {
      expect(event).toMatch(head);
      return event.replace(head, "").replace(/"timings":\{[^}]*\}/, '"timings":{}');
    });
    const delta = (content: string) =>
      `[{"index":0,"delta":{"content":${JSON.stringify(content)}},"logprobs":null,"finish_reason":null}]}`;
    expect(tails[0]).toBe(
      '[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}',
    );
    expect(tails.at(-2)).toBe('[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"timings":{}}');
    const usage = JSON.parse(events.at(-1) ?? "");
    expect(usage.choices).toEqual([]);
    expect(Object.keys(usage.usage)).toEqual([
      "prompt_tokens",
      "prompt_tokens_details",
      "completion_tokens",
      "total_tokens",
    ]);
    const texts = events.slice(1, -2).map((event) => JSON.parse(event).choices[0].delta.content as string);
    expect(texts.join("")).toBe("Hi, you!");
    expect(tails.slice(1, -2)).toEqual(texts.map(delta));
    expect(new Set(events.map((event) => JSON.parse(event).id)).size).toBe(1);
  });

  it("of a completion has text chunks, no usage unasked, and [DONE]", async () => {
    const app = await start({ answer: () => stepsOf("one two three four", 1) });
    const { text } = await post(app, "/v1/completions", { prompt: "x", stream: true, max_tokens: 3 });
    const events = eventsOf(text);
    expect(events.pop()).toBe("[DONE]");
    const chunks = events.map((event) => JSON.parse(event));
    expect(chunks.every(({ object, usage }) => object === "text_completion" && usage === undefined)).toBe(true);
    expect(chunks.at(-1).choices).toEqual([{ index: 0, text: "", logprobs: null, finish_reason: "length" }]);
    expect(chunks.at(-1).timings).toMatchObject({ predicted_n: 3, draft_n: 21, draft_n_accepted: 0 });
    expect(chunks.filter(({ timings }) => timings)).toHaveLength(1);
  });

  it.each([1, 2, 3, 5])("never holds half a character, in steps of %i tokens", async (stepLen) => {
    const app = await start({ answer: () => stepsOf(STORY, stepLen) });
    const { text } = await post(app, "/v1/chat/completions", {
      messages: [{ role: "user", content: "x" }],
      stream: true,
    });
    const parts = eventsOf(text)
      .slice(1, -1)
      .map((event) => JSON.parse(event).choices[0].delta.content ?? "");
    expect(parts.join("")).toBe(STORY);
    expect(parts.join("|")).not.toContain("\ufffd");
  });

  it("says which of its text was drafted and accepted, where it is asked", async () => {
    const app = await start({ answer: () => stepsOf("a b c d e f", 3) });
    const body = { prompt: "x", stream: true, max_tokens: 50, canopy: { pieces: true } };
    const chunks = eventsOf((await post(app, "/v1/completions", body)).text)
      .slice(0, -1)
      .map((event) => JSON.parse(event));
    const pieces = chunks.flatMap(({ choices }) => choices[0].canopy?.pieces ?? []);
    expect(pieces.map((piece: { text: string }) => piece.text).join("")).toBe("a b c d e f");
    expect(new Set(pieces.map((piece: { accepted: boolean }) => piece.accepted))).toEqual(new Set([true, false]));
  });

  it("stops at a stop string inside an accepted run, and the engine stops too", async () => {
    for (const stream of [true, false]) {
      const app = await start({ answer: () => stepsOf(LONG, 7) });
      const body = { messages: [{ role: "user", content: "x" }], stop: ["paws", "never"], stream, max_tokens: 200 };
      const { text } = await post(app, "/v1/chat/completions", body);
      const want = STORY.slice(0, STORY.indexOf("paws"));
      if (stream) {
        const chunks = eventsOf(text)
          .slice(0, -1)
          .map((event) => JSON.parse(event));
        expect(chunks.map(({ choices }) => choices[0].delta.content ?? "").join("")).toBe(want);
        expect(chunks.at(-1).choices[0].finish_reason).toBe("stop");
      } else {
        const whole = JSON.parse(text);
        expect(whole.choices[0]).toMatchObject({ message: { content: want }, finish_reason: "stop" });
        // Tokens count up to and including the one that completes the stop string.
        const numTokens = TEXT.encodePrompt(STORY.slice(0, STORY.indexOf("paws") + 4)).length;
        expect(whole.usage.completion_tokens).toBe(numTokens);
      }
      await vi.waitFor(() => expect(app.engine.numAborted).toBe(1));
    }
  });

  it("that fails on the way ends with an error event and [DONE]; a whole answer with 500", async () => {
    const app = await start({ answer: () => stepsOf(STORY), failAfterSteps: 3 });
    const messages = [{ role: "user", content: "x" }];
    const events = eventsOf((await post(app, "/v1/chat/completions", { messages, stream: true })).text);
    expect(events.pop()).toBe("[DONE]");
    expect(JSON.parse(events.pop() ?? "")).toEqual({
      error: {
        message: expect.stringMatching(/told to fail/),
        type: "server_error",
        param: null,
        code: "engine_failed",
      },
    });
    expect((await post(app, "/v1/chat/completions", { messages })).status).toBe(500);
    const { text } = await post(app, "/metrics", {})
      .then(() => fetch(`${app.url}/metrics`))
      .then(async (r) => ({ text: await r.text() }));
    expect(text).toMatch(/canopy_request_success_total\{finished_reason="error"\} 2/);
  });
});

describe("clients that leave", () => {
  it("200 of them, mid-stream: every sequence is aborted, a steady stream keeps its text", async () => {
    const steps = stepsOf(LONG, 1);
    const app = await start({ answer: () => steps, stepMs: 80 }, { maxQueue: 500 });
    const steady = post(app, "/v1/completions", { prompt: "x", stream: true, max_tokens: 60 });
    // Twenty seconds an answer: none has ended before its client leaves, also where others keep the machine busy.
    const body = { prompt: "x", stream: true, max_tokens: 250 };
    const leave = async (i: number) => {
      const controller = new AbortController();
      // Not AbortSignal.any with AbortSignal.timeout: Node 20 collects that as garbage before it fires.
      const giveUp = setTimeout(() => controller.abort(), i % 4 === 0 ? 40 : 60_000);
      try {
        const response = await fetch(`${app.url}/v1/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ ...body, stream: i % 4 !== 0 ? true : undefined }),
          signal: controller.signal,
        });
        const reader = response.body?.getReader();
        for (let chunks = i % 3; chunks >= 0; chunks--) await reader?.read();
        controller.abort();
      } finally {
        clearTimeout(giveUp);
      }
    };
    await Promise.all(Array.from({ length: 200 }, (_, i) => leave(i).catch(() => undefined)));
    // One that gave up before its request was read never got as far as the engine.
    expect(app.engine.requests.length).toBeGreaterThan(100);
    await vi.waitFor(() => expect(app.engine.numAborted).toBe(app.engine.requests.length - 1), 10_000);
    const events = eventsOf((await steady).text)
      .slice(0, -1)
      .map((event) => JSON.parse(event).choices[0].text);
    const want = steps.flatMap(({ tokenIds }) => tokenIds).slice(0, 60);
    const output = TEXT.createOutput([], { continuation: true });
    expect(events.join("")).toBe(output.push(want, 0).text + output.flush().text);
    expect(app.admission.numRequests).toBe(0);
    expect(app.engine.load().numRunning).toBe(0);
    expect(await app.metrics.render()).toMatch(/canopy_sse_cancellations_total 1[0-5]\d$/m);
  });

  it("a reader that never reads is dropped, and its sequence ends", async () => {
    const limits = { keepAliveMs: 15_000, stallMs: 200, maxBufferedBytes: 64 * 1024 };
    const app = await start({ answer: () => WIDE_STEPS }, { sse: limits });
    const body = JSON.stringify({
      prompt: new Array(16).fill("x"),
      n: 8,
      stream: true,
      max_tokens: 250,
      canopy: { pieces: true },
    });
    const { hostname, port } = new URL(app.url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.pause();
    const head = `POST /v1/completions HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    for (let i = 0; i < 12; i++) socket.write(head + body);
    await vi.waitFor(() => expect(app.engine.numAborted).toBeGreaterThan(0), 10_000);
    await vi.waitFor(() => expect(app.admission.numRequests).toBe(0), 10_000);
    socket.destroy();
  });
});
