import { describe, expect, it, vi } from "vitest";
import { post, stepsOf, useApps } from "../support/test-app.ts";

const PATH = "/v1/completions";
const body = { prompt: "x", max_tokens: 200 };
const start = useApps();

const slow = { answer: () => stepsOf("word ".repeat(200), 1), stepMs: 50 };
const never = { answer: () => stepsOf("fine"), gate: new Promise<void>(() => {}) };
const codeOf = (text: string) => JSON.parse(text).error.code;

describe("a request's deadline", () => {
  it("that passes before the first text is a 503 with Retry-After, for a stream too", async () => {
    const app = await start(never);
    for (const stream of [true, false]) {
      const { status, headers, text } = await post(app, PATH, { ...body, stream, timeout: 0.05 });
      expect([status, headers.get("retry-after"), codeOf(text)]).toEqual([503, "1", "deadline_exceeded"]);
      expect(text).toContain("within 0.05 s");
    }
    expect(app.admission.numRequests).toBe(0);
  });

  it("that passes later is an event at the end of the stream, and the sequence ends with it", async () => {
    const app = await start(slow);
    const { status, text } = await post(app, PATH, { ...body, n: 2, stream: true, timeout: 3 });
    expect(status).toBe(200);
    const events = text.trimEnd().split("\n\n");
    expect(events.at(-1)).toBe("data: [DONE]");
    expect(codeOf(events.at(-2)?.slice("data: ".length) ?? "")).toBe("deadline_exceeded");
    expect(events.length).toBeGreaterThan(2);
    await vi.waitFor(() => expect(app.engine.numAborted).toBe(2));
    const whole = await post(app, PATH, { ...body, timeout: 0.05 });
    expect([whole.status, codeOf(whole.text)]).toEqual([503, "deadline_exceeded"]);
    expect(await app.metrics.render()).toMatch(/request_success_total\{finished_reason="deadline"\} [23]$/m);
  });

  it("changes nothing for one that ends in time: chunks in the same order, the role first", async () => {
    const app = await start({ answer: () => stepsOf("Hi, you!", 2) });
    const chat = { messages: [{ role: "user", content: "x" }], stream: true, n: 2 };
    const read = async (more: object) => {
      const { text } = await post(app, "/v1/chat/completions", { ...chat, ...more });
      const chunks = text.matchAll(/"choices":(\[\{"index":0.*\}\])/g);
      return [...chunks].map(([, choices]) => choices?.replace(/"timings".*/, ""));
    };
    const plain = await read({});
    expect(plain[0]).toContain('"role":"assistant"');
    expect(await read({ timeout: 60 })).toEqual(plain);
  });

  it("is the server's where it has none or a later one", async () => {
    const app = await start(never, { requestTimeout: 0.05 });
    for (const timeout of [undefined, 3600]) {
      const { status, text } = await post(app, PATH, { ...body, timeout });
      expect([status, text]).toEqual([503, expect.stringContaining("within 0.05 s")]);
    }
  });
});

describe("a queue that several keys share", () => {
  it("is never full for one of them because of another", async () => {
    // Four run and four wait.
    const app = await start(never, { apiKeys: ["flood", "other"], maxQueue: 4 });
    const leave = new AbortController();
    const ask = async (key: string) => {
      const { signal } = leave;
      const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
      return fetch(app.url + PATH, {
        method: "POST",
        headers,
        body: JSON.stringify({ ...body, stream: true }),
        signal,
      });
    };
    const answers = async (key: string) => {
      const all = [];
      for (let i = 0; i < 6; i++) all.push((await ask(key)).status);
      return all;
    };
    expect(await answers("flood")).toEqual([200, 200, 200, 200, 429, 429]);
    expect(await answers("other")).toEqual([200, 200, 429, 429, 429, 429]);
    leave.abort();
  });
});

describe("what the engine is told", () => {
  it("is how much of its time a request has left", async () => {
    const app = await start({ answer: () => stepsOf("fine") });
    for (const timeout of [undefined, 60]) await post(app, PATH, { ...body, timeout });
    const [never, minute] = app.engine.requests.map(({ timeoutMs }) => timeoutMs);
    expect(never).toBeUndefined();
    expect(minute).toBeGreaterThan(0);
    expect(minute).toBeLessThanOrEqual(60_000);
  });

  it("is the priority, and whose request it is", async () => {
    const app = await start({ answer: () => stepsOf("fine") }, { apiKeys: ["one", "two"] });
    const ask = async (key: string, more: object) =>
      (await post(app, PATH, { ...body, ...more }, { authorization: `Bearer ${key}` })).status;
    expect(await ask("one", { priority: 3, n: 2 })).toBe(200);
    expect(await ask("two", {})).toBe(200);
    expect(await ask("one", { priority: null })).toBe(200);
    expect(app.engine.requests.map(({ priority }) => priority)).toEqual([3, 3, 0, 0]);
    const [one, again, two, last] = app.engine.requests.map(({ caller }) => caller);
    expect([again, last]).toEqual([one, one]);
    expect(two).not.toBe(one);
    expect(JSON.stringify(app.engine.requests)).not.toMatch(/"(one|two)"/);
  });

  it("no caller of several puts itself before the others; one alone may", async () => {
    const shared = await start({ answer: () => stepsOf("fine") }, { apiKeys: ["one", "two"] });
    const refused = await post(shared, PATH, { ...body, priority: -1 }, { authorization: "Bearer one" });
    expect([refused.status, codeOf(refused.text)]).toEqual([400, "invalid_value"]);
    expect(shared.engine.requests).toEqual([]);
    const own = await start({ answer: () => stepsOf("fine") }, { apiKeys: ["one"] });
    const taken = await post(own, PATH, { ...body, priority: -1 }, { authorization: "Bearer one" });
    expect([taken.status, own.engine.requests[0]?.priority]).toEqual([200, -1]);
  });
});
