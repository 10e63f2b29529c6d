import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { LocalTextService } from "../../server/text-service.ts";
import { post, stepsOf, TEXT, useApps } from "../support/test-app.ts";

const PATHS = ["/v1/completions", "/v1/chat/completions"] as const;
const body = { prompt: "x", messages: [{ role: "user", content: "x" }] };
const start = useApps();
const engine = { answer: () => stepsOf("fine") };
const codeOf = (text: string) => JSON.parse(text).error.code;

/** As if the thread had more to do than ever ends: texts wait until nobody waits for them. */
class BusyText extends LocalTextService {
  override encodePrompt = (_text: string, signal?: AbortSignal) => untilAborted(signal);
  override encodeChat = (_messages: unknown, signal?: AbortSignal) => untilAborted(signal);
}

function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
}

describe.each(PATHS)("texts of %s that wait to be read", (path) => {
  it("take places: beyond them it is 429 at once, and a bad body is 400 all the same", async () => {
    const leave = new AbortController();
    // Four run and two wait.
    const app = await start(engine, { text: new BusyText(TEXT), maxQueue: 2 });
    const waiting = [1, 2, 3].map(() =>
      fetch(app.url + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...body, n: 2 }),
        signal: leave.signal,
      }).catch(() => undefined),
    );
    await vi.waitFor(() => expect(app.admission.numRequests).toBe(3));
    const refused = await post(app, path, body);
    expect([refused.status, refused.headers.has("retry-after")]).toEqual([429, true]);
    for (const [bad, code] of [
      [{ priority: 0.5 }, "invalid_value"],
      [{ stop_token_ids: [4096] }, "invalid_token_id"],
    ] as const) {
      const answer = await post(app, path, { ...body, ...bad });
      expect([answer.status, codeOf(answer.text)]).toEqual([400, code]);
    }
    leave.abort();
    await Promise.all(waiting);
    await vi.waitFor(() => expect(app.admission.numRequests).toBe(0));
    expect(app.engine.requests).toEqual([]);
  });

  it("are not waited for longer than the request has time", async () => {
    const app = await start(engine, { text: new BusyText(TEXT) });
    for (const stream of [true, false]) {
      const { status, headers, text } = await post(app, path, { ...body, stream, timeout: 0.05 });
      expect([status, headers.get("retry-after"), codeOf(text)]).toEqual([503, "1", "deadline_exceeded"]);
    }
    expect([app.admission.numRequests, app.engine.requests]).toEqual([0, []]);
  });
});

it("the time that a text takes to be read counts, from the arrival, as time before the first step", async () => {
  /** Timers may be early by a millisecond. */
  const [waitMs, leastMs] = [100, 98];
  class SlowText extends LocalTextService {
    override async encodePrompt(text: string): Promise<readonly number[]> {
      await sleep(waitMs);
      return super.encodePrompt(text);
    }
  }
  const app = await start(engine, { text: new SlowText(TEXT) });
  const { text } = await post(app, PATHS[0], body);
  expect(JSON.parse(text).timings.prompt_ms).toBeGreaterThanOrEqual(leastMs);
  const metrics = await app.metrics.render();
  const secondsOf = (name: string) => Number(new RegExp(`canopy_${name}_seconds_sum (\\S+)`).exec(metrics)?.[1]);
  for (const name of ["time_to_first_token", "request_queue_time", "e2e_request_latency"]) {
    expect(secondsOf(name), name).toBeGreaterThanOrEqual(leastMs / 1000);
  }
});

it("token ids that no prompt may have are refused before their request takes a place", async () => {
  const app = await start(engine, { text: new BusyText(TEXT), maxQueue: 0 });
  const held = post(app, PATHS[0], { prompt: new Array(4).fill("x"), timeout: 1 });
  await vi.waitFor(() => expect(app.admission.numRequests).toBe(1));
  const codes = [];
  for (const prompt of [[], [4096], [[1], []]]) codes.push(codeOf((await post(app, PATHS[0], { prompt })).text));
  codes.push(codeOf((await post(app, PATHS[0], { prompt: new Array(20).fill("x"), n: 16 })).text));
  expect(codes).toEqual(["empty_prompt", "invalid_token_id", "empty_prompt", "invalid_value"]);
  expect((await held).status).toBe(503);
});

it("a text that is refused gives its places back", async () => {
  const app = await start(engine, { maxQueue: 0 });
  for (let i = 0; i < 2; i++) {
    const { status, text } = await post(app, PATHS[0], { prompt: ["x", ""], n: 4 });
    expect([status, codeOf(text)]).toEqual([400, "empty_prompt"]);
  }
  expect(app.admission.numRequests).toBe(0);
  expect((await post(app, PATHS[0], body)).status).toBe(200);
});
