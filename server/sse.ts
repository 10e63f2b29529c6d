import type { OutgoingHttpHeader, ServerResponse } from "node:http";
import { dropResponse } from "./connection.ts";
import type { ErrorBody } from "./errors.ts";

export interface SseLimits {
  /** A comment line is sent after this long without an event. */
  readonly keepAliveMs: number;
  /** A reader that takes nothing for this long is dropped. */
  readonly stallMs: number;
  /** Most bytes waiting for the reader. */
  readonly maxBufferedBytes: number;
}

export const SSE_LIMITS: SseLimits = { keepAliveMs: 15_000, stallMs: 30_000, maxBufferedBytes: 1024 * 1024 };

/**
 * Server-sent events as OpenAI's clients read them: `data: {json}`, at the end `data: [DONE]`.
 * Nothing is written before `open()`, so a request can still be refused with a plain status.
 */
export class SseStream {
  readonly #raw: ServerResponse;
  readonly #limits: SseLimits;
  #keepAlive: NodeJS.Timeout | undefined;
  /** Settles when a full socket drains, closes or stalls; shared by all choices of a request. */
  #drained: Promise<void> | undefined;

  constructor(raw: ServerResponse, limits: SseLimits) {
    this.#raw = raw;
    this.#limits = limits;
  }

  get isOpen(): boolean {
    return this.#raw.headersSent;
  }

  /** Sends the headers at once: those of the reply, which a hijacked response would lack, and the stream's own. */
  open(headers: Readonly<Record<string, OutgoingHttpHeader | undefined>>): void {
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) this.#raw.setHeader(name, value);
    this.#raw.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      // Reverse proxies (nginx) would otherwise gather events.
      "x-accel-buffering": "no",
    });
    this.#raw.flushHeaders();
    this.#raw.socket?.setNoDelay(true);
    this.#keepAlive = setInterval(() => {
      if (!this.#drained) void this.#write(": keep-alive\n\n");
    }, this.#limits.keepAliveMs);
    this.#raw.once("close", () => clearInterval(this.#keepAlive));
  }

  /** Sends one event; resolves when the reader may be given the next. Does nothing once the reader has gone. */
  send(event: object): Promise<void> {
    this.#keepAlive?.refresh();
    return this.#write(`data: ${JSON.stringify(event)}\n\n`);
  }

  end(): void {
    clearInterval(this.#keepAlive);
    if (!this.#raw.destroyed) this.#raw.end("data: [DONE]\n\n");
  }

  /** An error after the headers: an event of its own, then the end. */
  fail(body: ErrorBody): void {
    void this.send(body);
    this.end();
  }

  async #write(text: string): Promise<void> {
    const raw = this.#raw;
    if (raw.destroyed || raw.writableEnded) return;
    const hasRoom = raw.write(text);
    if (raw.writableLength > this.#limits.maxBufferedBytes) dropResponse(raw);
    else if (!hasRoom) {
      this.#drained ??= this.#waitForReader();
      await this.#drained;
    }
  }

  async #waitForReader(): Promise<void> {
    const raw = this.#raw;
    await new Promise<void>((resolve) => {
      const stalled = setTimeout(() => dropResponse(raw), this.#limits.stallMs);
      const done = () => {
        clearTimeout(stalled);
        raw.off("drain", done).off("close", done);
        resolve();
      };
      raw.once("drain", done).once("close", done);
    });
    this.#drained = undefined;
  }
}
