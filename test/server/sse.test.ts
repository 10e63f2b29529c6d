import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SSE_LIMITS, SseStream } from "../../server/sse.ts";

/** The response to a reader who takes nothing unless it is told to. */
class StalledResponse extends EventEmitter {
  readonly written: string[] = [];
  readonly writableEnded = false;
  headersSent = false;
  destroyed = false;
  writableLength = 0;

  setHeader(): void {}
  flushHeaders(): void {}
  writeHead(): void {
    this.headersSent = true;
  }

  write(text: string): boolean {
    this.written.push(text);
    this.writableLength += text.length;
    return false;
  }

  take(): void {
    this.writableLength = 0;
    this.emit("drain");
  }

  destroy(): void {
    this.destroyed = true;
    this.emit("close");
  }
}

let response: StalledResponse;
let stream: SseStream;
beforeEach(() => {
  vi.useFakeTimers();
  response = new StalledResponse();
  stream = new SseStream(response as unknown as ServerResponse, SSE_LIMITS);
  stream.open({});
});
afterEach(() => {
  vi.useRealTimers();
});

/** Sends, and says whether the next may be sent. */
function send(event: object): () => boolean {
  let isDone = false;
  void stream.send(event).then(() => {
    isDone = true;
  });
  return () => isDone;
}

describe("a reader that takes nothing", () => {
  it("is waited for, and dropped after 30 s", async () => {
    const isDone = send({ a: 1 });
    await vi.advanceTimersByTimeAsync(29_999);
    expect([response.destroyed, isDone()]).toEqual([false, false]);
    await vi.advanceTimersByTimeAsync(1);
    expect([response.destroyed, isDone()]).toEqual([true, true]);
    send({ a: 2 });
    expect(response.written).toHaveLength(1);
  });

  it("has its 30 s anew whenever it takes something", async () => {
    for (let i = 0; i < 4; i++) {
      const isDone = send({ i });
      await vi.advanceTimersByTimeAsync(29_000);
      expect(isDone()).toBe(false);
      response.take();
      await vi.advanceTimersByTimeAsync(0);
      expect([response.destroyed, isDone()]).toEqual([false, true]);
    }
  });

  it("is dropped at once when 1 MiB is waiting for it", async () => {
    const text = "x".repeat(100_000);
    for (let i = 0; i < 10; i++) send({ text });
    expect(response.destroyed).toBe(false);
    send({ text });
    expect(response.destroyed).toBe(true);
  });

  it("is sent no comment lines; one that has taken everything gets one after 15 s", async () => {
    send({ a: 1 });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(response.written).toHaveLength(1);
    response.take();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(response.written.slice(1)).toEqual([": keep-alive\n\n"]);
  });
});
