import { EventEmitter } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerClientError } from "../../server/client-errors.ts";
import { startApp, stepsOf, type TestApp } from "../support/test-app.ts";

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ answer: () => stepsOf("fine") });
});
afterAll(() => app.close());

/** Writes bytes that no HTTP library would, and reads until the server closes. */
function exchange(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(app.url).port) });
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
    });
    socket.on("error", reject).on("close", () => resolve(text));
    socket.write(bytes);
  });
}

function parse(response: string): { readonly status: number; readonly body: unknown } {
  const [head = "", body = ""] = response.split("\r\n\r\n");
  expect(head).toMatch(/content-type: application\/json/i);
  expect(head).toContain(`content-length: ${Buffer.byteLength(body)}`);
  return { status: Number(head.split(" ")[1]), body: JSON.parse(body) };
}

/** As if Node had refused what came in on a socket. */
function refusalOf(code: string): { readonly written: string; readonly destroyed: boolean } {
  const socket = Object.assign(new EventEmitter(), {
    writable: true,
    destroyed: false,
    written: "",
    write(text: string) {
      this.written += text;
    },
    destroy() {
      this.destroyed = true;
    },
  });
  answerClientError(Object.assign(new Error("it failed"), { code }), socket as unknown as Socket);
  return socket;
}

describe("what is not a request", () => {
  const close = "connection: close\r\n";
  it.each([
    ["garbage", "GARBAGE\r\n\r\n", 400, "invalid_request"],
    [
      "a length that is no number",
      `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: abc\r\n\r\n`,
      400,
      "invalid_request",
    ],
    [
      "17 KiB of headers",
      `GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${"a".repeat(17 * 1024)}\r\n\r\n`,
      431,
      "headers_too_large",
    ],
    ["no Host", `GET /health HTTP/1.1\r\n${close}\r\n`, 400, "invalid_request"],
    ["a bad escape", `GET /%zz HTTP/1.1\r\nhost: localhost\r\n${close}\r\n`, 400, "invalid_request"],
  ])("%s is answered in the shape of every error", async (_, bytes, status, code) => {
    const answer = parse(await exchange(bytes));
    expect(answer).toEqual({
      status,
      body: { error: { message: expect.any(String), type: "invalid_request_error", param: null, code } },
    });
  });

  it("a request that takes too long to arrive is a 408, and its connection is closed", () => {
    const { written, destroyed } = refusalOf("ERR_HTTP_REQUEST_TIMEOUT");
    expect(parse(written)).toMatchObject({ status: 408, body: { error: { code: "request_timeout" } } });
    expect(destroyed).toBe(true);
    expect(refusalOf("ECONNRESET").written).toBe("");
  });

  it("HTTP/1.0 knows no Host and is served", async () => {
    expect(await exchange("GET /health HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });
});

describe("a route asked in the wrong way", () => {
  it.each([
    ["GET", "/v1/chat/completions", "POST"],
    ["PUT", "/v1/completions?x=1", "POST"],
    ["POST", "/health", "GET, HEAD"],
    ["POST", "/v1/models/fake", "GET, HEAD"],
    ["GET", "//v1//chat/completions", "POST"],
  ])("%s %s is a 405 that says how", async (method, path, allow) => {
    const response = await fetch(app.url + path, { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
    expect(await response.json()).toMatchObject({ error: { code: "method_not_allowed" } });
  });
});
