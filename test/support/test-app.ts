import type { AddressInfo } from "node:net";
import { afterEach } from "vitest";
import type { EngineClient } from "../../engine/client.ts";
import { resolveModel } from "../../engine/model/bundled.ts";
import { openModel } from "../../engine/model/open.ts";
import { ModelText } from "../../engine/text/model-text.ts";
import { type App, type AppOptions, buildApp } from "../../server/app.ts";
import { LocalTextService } from "../../server/text-service.ts";
import { FakeEngine, type FakeEngineOptions, type FakeStep } from "./fake-engine.ts";

export const END_OF_TURN = 2;

function readText(): ModelText {
  const model = openModel(resolveModel("sapling-14m"));
  model.weights.close();
  if (model.text === undefined) throw new Error("sapling-14m has a tokenizer");
  return new ModelText(model.text);
}

/** The bundled tokenizer: real text over a scripted engine. */
export const TEXT = readText();

/** A text as steps of `stepLen` tokens, all but the last of a step accepted; then the end of turn. */
export function stepsOf(text: string, stepLen = 3): readonly FakeStep[] {
  const ids = [...TEXT.encodePrompt(text), END_OF_TURN];
  return Array.from({ length: Math.ceil(ids.length / stepLen) }, (_, i) => {
    const tokenIds = ids.slice(i * stepLen, (i + 1) * stepLen);
    return { tokenIds, numAccepted: tokenIds.length - 1 };
  });
}

export interface ListeningApp extends App {
  readonly url: string;
  close(): Promise<void>;
}

export interface TestApp extends ListeningApp {
  readonly engine: FakeEngine;
}

/** The app over a fake engine, listening on a free port of the loopback. */
export async function startApp(engine: FakeEngineOptions, options: Partial<AppOptions> = {}): Promise<TestApp> {
  const client = new FakeEngine(engine);
  return { ...(await listenOver(client, options)), engine: client };
}

/** As `startApp`, for the tests of one file: each app is closed after the test that started it. */
export function useApps(): typeof startApp {
  const apps: TestApp[] = [];
  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()));
  });
  return async (...args) => {
    const app = await startApp(...args);
    apps.push(app);
    return app;
  };
}

/** The app over any engine, listening on a free port of the loopback. */
export async function listenOver(client: EngineClient, options: Partial<AppOptions> = {}): Promise<ListeningApp> {
  const app = await buildApp({
    client,
    model: { names: ["fake", "alias"], generationDefaults: {}, created: 1 },
    text: new LocalTextService(TEXT),
    apiKeys: [],
    doors: { host: "127.0.0.1", allowedHosts: [], allowedOrigins: [] },
    maxQueue: 300,
    ...options,
  });
  await app.server.listen({ host: "127.0.0.1", port: 0 });
  const { port } = app.server.server.address() as AddressInfo;
  return { ...app, url: `http://127.0.0.1:${port}`, close: () => closeApp(app) };
}

/** Posts a body, as JSON unless it is text, and reads the answer whole. */
export async function post(
  app: ListeningApp,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
) {
  const response = await fetch(app.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** The first event of a stream, as it comes over a real connection. */
export async function firstEvent(url: string, init?: RequestInit): Promise<{ response: Response; message: unknown }> {
  const response = await fetch(url, init);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n\n")) text += (await reader?.read())?.value ?? "\n\n";
  await reader?.cancel();
  return { response, message: JSON.parse(text.slice("data: ".length, text.indexOf("\n\n"))) };
}

/** Sockets that never sent a request would hold up the end. */
async function closeApp({ server }: App): Promise<void> {
  const closed = server.close();
  server.server.closeAllConnections();
  await closed;
}
