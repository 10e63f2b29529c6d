import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { post, startApp, stepsOf, type TestApp } from "../support/test-app.ts";

const HEAD = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
let app: TestApp;
beforeAll(async () => {
  const connections = { requestMs: 300, checkMs: 50, idleMs: 60_000, spare: 1_000 };
  app = await startApp({ answer: () => stepsOf("fine") }, { connections });
});
afterAll(() => app.close());

async function open(to: TestApp = app): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(to.url).port) });
  socket.setEncoding("utf8");
  await once(socket, "connect");
  return socket;
}

it.each([
  ["headers", HEAD],
  ["a body", `${HEAD}content-length: 100\r\n\r\n{"prompt"`],
])("%s without an end: a 408, and the connection is closed", async (_, bytes) => {
  const socket = await open();
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  socket.write(bytes);
  await once(socket, "close");
  expect(answer).toMatch(/^HTTP\/1\.1 408 [\s\S]*"code":"request_timeout"/);
  expect(app.engine.requests).toEqual([]);
});

it("a request has 30 s to arrive in, where nothing else is said", async () => {
  const { server, close } = await startApp({ answer: () => stepsOf("fine") });
  const { requestTimeout, headersTimeout } = server.server;
  expect([requestTimeout, headersTimeout]).toEqual([30_000, 30_000]);
  await close();
});

it("500 connections on which nothing comes hold up no one", async () => {
  const sockets = await Promise.all(Array.from({ length: 500 }, () => open()));
  const health = await fetch(`${app.url}/health`);
  const answer = await post(app, "/v1/completions", { prompt: "x" });
  expect([health.status, answer.status]).toEqual([200, 200]);
  for (const socket of sockets) socket.destroy();
});

it("one connection more than there may be is closed, and those that are open go on", async () => {
  const connections = { requestMs: 30_000, checkMs: 5_000, idleMs: 60_000, spare: 2 };
  const small = await startApp({ answer: () => stepsOf("fine") }, { connections, maxQueue: 1 });
  const most = small.server.server.maxConnections;
  expect(most).toBe(2 + small.engine.info.maxNumSeqs + 1);
  const sockets = await Promise.all(Array.from({ length: most }, () => open(small)));
  const extra = await open(small);
  await once(extra, "close");
  const [first] = sockets;
  const answered = first && once(first, "data");
  first?.write("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
  expect(String(await answered)).toMatch(/^HTTP\/1\.1 200 /);
  for (const socket of sockets) socket.destroy();
  await small.close();
});
