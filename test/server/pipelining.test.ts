import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { SSE_LIMITS } from "../../server/sse.ts";
import { stepsOf, type TestApp, useApps } from "../support/test-app.ts";

const FEED = "GET /dashboard/feed HTTP/1.1\r\nhost: localhost\r\n\r\n";
const start = useApps();
const never = { answer: () => stepsOf("fine"), gate: new Promise<void>(() => {}) };
const stream = { prompt: "x", stream: true, max_tokens: 200 };
/** With the second, each output is more than Node takes for a reader who does not read. */
const wide = { answer: () => stepsOf("word ".repeat(200), 100) };
const detailed = { ...stream, logprobs: 20 };

function completion(body: object): string {
  const text = JSON.stringify(body);
  return `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`;
}

/** Sends all at once, without waiting for an answer. */
async function send(app: TestApp, requests: readonly string[]): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(app.url).port) });
  await once(socket, "connect");
  socket.write(requests.join(""));
  return socket;
}

describe("requests behind the first of a connection, whose client leaves", () => {
  it.each([true, false])("give back every place and sequence; streamed: %s", async (isStream) => {
    const app = await start(never);
    const socket = await send(app, new Array(20).fill(completion({ ...stream, stream: isStream })));
    await vi.waitFor(() => expect(app.engine.load().numRunning).toBe(20));
    socket.destroy();
    await vi.waitFor(() => expect(app.admission.numRequests).toBe(0));
    await vi.waitFor(() => expect(app.engine.load().numRunning).toBe(0));
    expect(await app.metrics.render()).toContain(`sse_cancellations_total ${isStream ? 20 : 0}\n`);
  });

  it("no longer wait for a reader", async () => {
    const app = await start(wide);
    const socket = await send(app, [FEED, completion(detailed)]);
    await expect.poll(() => app.metrics.render()).toContain("canopy_time_to_first_token_seconds_count 1\n");
    socket.destroy();
    await vi.waitFor(() => expect(app.admission.numRequests).toBe(0));
    await vi.waitFor(() => expect(app.engine.load().numRunning).toBe(0));
  });

  it("leave their places at the dashboard's feed to others", async () => {
    const app = await start(never);
    const socket = await send(app, [completion(stream), ...new Array(32).fill(FEED)]);
    const isRefused = async () => {
      const leave = new AbortController();
      const { status } = await fetch(`${app.url}/dashboard/feed`, { signal: leave.signal });
      leave.abort();
      return status === 429;
    };
    await expect.poll(isRefused).toBe(true);
    socket.destroy();
    await expect.poll(isRefused).toBe(false);
  });
});

it("a stream whose turn on its connection does not come is given up like any that nobody reads", async () => {
  const app = await start(wide, { sse: { ...SSE_LIMITS, stallMs: 100 } });
  const socket = await send(app, [FEED, completion(detailed)]);
  await vi.waitFor(() => expect(app.engine.numAborted).toBe(1), 5_000);
  expect(app.admission.numRequests).toBe(0);
  expect(socket.destroyed).toBe(false);
  socket.destroy();
});
