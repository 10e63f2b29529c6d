import { once } from "node:events";
import { createServer } from "node:net";
import { beforeAll, describe, expect, it } from "vitest";
import type { CreatedEngine, EngineOptions } from "../../engine/engine-options.ts";
import { resolveModel } from "../../engine/model/bundled.ts";
import { openModel } from "../../engine/model/open.ts";
import type { TextAssets } from "../../engine/model/types.ts";
import { ModelText } from "../../engine/text/model-text.ts";
import { explain } from "../../server/cli-errors.ts";
import { createLogger } from "../../server/cli-logger.ts";
import { loadConfig } from "../../server/config-load.ts";
import { type RunningServer, serve } from "../../server/main.ts";
import { LocalTextService } from "../../server/text-service.ts";
import { HeldEngine, Recorder } from "./cli-fakes.ts";

let text: TextAssets;
beforeAll(() => {
  const model = openModel(resolveModel("sapling-14m"));
  model.weights.close();
  if (model.text === undefined) throw new Error("the bundled model has no tokenizer");
  text = model.text;
});

const openText = (assets: TextAssets) => new LocalTextService(new ModelText(assets));

interface Started {
  readonly server: RunningServer;
  readonly engine: HeldEngine;
  readonly output: Recorder;
}

async function start(args: readonly string[] = [], { drainMs = 20_000, isTTY = false } = {}): Promise<Started> {
  const output = new Recorder(isTTY);
  const engines: HeldEngine[] = [];
  const createEngine = async (options: EngineOptions): Promise<CreatedEngine> => {
    const client = new HeldEngine(options);
    engines.push(client);
    return { client, model: { name: "sapling-14m", path: "", text, generationDefaults: {} } };
  };
  const { config } = loadConfig(["--port", "0", ...args], {});
  const logger = createLogger(config.logLevel, output);
  const shutdownTimes = { drainMs, closeMs: 2_000 };
  const server = await serve(config, { createEngine, openText, logger, output, shutdownTimes });
  const [engine] = engines;
  if (engine === undefined) throw new Error("no engine was made");
  return { server, engine, output };
}

const post = (url: string, stream: boolean) =>
  fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "Once", max_tokens: 100, stream }),
  });

describe("start", () => {
  it("hands the engine its options, and is ready once it can be reached", async () => {
    const { server, engine } = await start(["--tree-nodes", "5", "--served-model-name", "a,b"]);
    expect(engine.options).toMatchObject({ model: "sapling-14m", treeNodes: 5 });
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(data[0]?.id).toBe("a");
    await server.shutDown();
    expect(engine.closed).toBe(1);
    await expect(fetch(`${server.url}/ready`)).rejects.toThrow("fetch failed");
  });

  it("logs the banner's facts where no person looks, loudly that it is a software adapter", async () => {
    const { server, output } = await start();
    const lines = output.lines();
    expect(lines.find(({ msg }) => msg === `ready at ${server.url}`)).toMatchObject({
      ...{ url: server.url, dashboard: `${server.url}/dashboard`, model: "sapling-14m" },
      ...{ adapter: "SwiftShader (software)", drafter: "draft", maxModelLen: 256, numKvBlocks: 65 },
      drafterFigures: [{ drafter: "draft", tokensPerSecond: 46.13, acceptanceLength: 3.35 }, { drafter: "medusa" }],
    });
    expect(lines.find(({ level }) => level === 40)?.msg).toContain("no GPU: this runs on a software adapter");
    await server.shutDown();
  });

  it("shows a banner on a terminal", async () => {
    const { server, output } = await start(["--api-key", "hush"], { isTTY: true });
    for (const part of ["Canopy 0.", "sapling-14m, context 256 tokens", "WARNING", "65 blocks of 16 tokens"]) {
      expect(output.text).toContain(part);
    }
    expect(output.text).toContain("draft (tokens/s when first tried: draft 46.1, medusa 40.0), trees of up to 8 nodes");
    expect(output.text).toContain(`curl ${server.url}/v1/chat/completions -H "Authorization: Bearer $KEY"`);
    expect(output.text).not.toContain("hush");
    expect(output.text).not.toContain("\x1b");
    await server.shutDown();
  });

  it("warns on an outer address without a key, and only then", async () => {
    const warnings = async (args: readonly string[]) => {
      const { server, output } = await start(args);
      await server.shutDown();
      return output.lines().filter(({ level, msg }) => level === 40 && String(msg).includes("anyone"));
    };
    expect(await warnings(["--host", "0.0.0.0"])).toHaveLength(1);
    expect(await warnings(["--host", "0.0.0.0", "--api-key", "k"])).toHaveLength(0);
    expect(await warnings([])).toHaveLength(0);
  });

  it("is live but not ready while the model loads, then serves on the same port", async () => {
    let finish = () => {};
    const loaded = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const createEngine = async (options: EngineOptions): Promise<CreatedEngine> => {
      await loaded;
      return { client: new HeldEngine(options), model: { name: "m", path: "", text, generationDefaults: {} } };
    };
    const output = new Recorder();
    const { config } = loadConfig(["--port", "0"], {});
    const starting = serve(config, { createEngine, openText, output, logger: createLogger("info", output) });
    await expect.poll(() => output.text).toContain("loading the model");
    const url = String(output.lines()[0]?.url);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    for (const answer of [await fetch(`${url}/ready`), await post(url, false)]) {
      expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
      expect(await answer.json()).toMatchObject({ error: { code: "loading", type: "service_unavailable_error" } });
    }
    // In a browser it is a page that asks again.
    const page = await fetch(url, { headers: { accept: "text/html,*/*;q=0.8" } });
    expect([page.status, page.headers.get("content-type")]).toEqual([503, "text/html; charset=utf-8"]);
    expect(await page.text()).toContain('http-equiv="refresh"');
    finish();
    const server = await starting;
    expect(server.url).toBe(url);
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    await server.shutDown();
  });

  it("frees the port when the model cannot be loaded", async () => {
    const { config } = loadConfig(["--port", "0"], {});
    const output = new Recorder();
    const createEngine = () => Promise.reject(new Error("no such model"));
    const failed = serve(config, { createEngine, openText, output, logger: createLogger("info", output) });
    await expect(failed).rejects.toThrow("no such model");
    await expect(fetch(`${output.lines()[0]?.url}/health`)).rejects.toThrow("fetch failed");
  });

  it("finds a taken port before the model is loaded", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const address = holder.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { config } = loadConfig(["--port", String(port)], {});
    let loaded = 0;
    const createEngine = async () => {
      loaded += 1;
      throw new Error("loaded");
    };
    const output = new Recorder();
    const failed = serve(config, { createEngine, openText, output, logger: createLogger("silent", output) });
    const error: unknown = await failed.catch((reason) => reason);
    expect(explain(error, config).cause).toBe(`port ${port} on 127.0.0.1 is in use by another program`);
    expect(loaded).toBe(0);
    holder.close();
  });
});

describe("shutdown under load", () => {
  it("is not ready at once, lets nothing new in, and lets what runs finish", async () => {
    const { server, engine, output } = await start();
    const streams = await Promise.all([post(server.url, true), post(server.url, true)]);
    const whole = post(server.url, false);
    await expect.poll(() => engine.numRunning).toBe(3);
    const ended = server.shutDown();
    expect((await fetch(`${server.url}/ready`)).status).toBe(503);
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    const refused = await post(server.url, true);
    expect([refused.status, refused.headers.has("retry-after")]).toEqual([503, true]);
    expect([engine.numRunning, engine.closed]).toEqual([3, 0]);

    engine.held = false;
    for (const stream of streams) {
      const events = await stream.text();
      expect(events).toContain('"finish_reason":"length"');
      expect(events).not.toContain('"error"');
      expect(events.endsWith("data: [DONE]\n\n")).toBe(true);
    }
    const answer = await whole;
    expect([answer.status, await answer.json()]).toMatchObject([200, { object: "text_completion" }]);
    await ended;
    expect([engine.numRunning, engine.closed]).toEqual([0, 1]);
    expect(output.lines().at(-1)?.msg).toBe("shut down");
  });

  it("ends what takes too long with a clear event, or a plain status before the headers", async () => {
    const { server, engine } = await start([], { drainMs: 50 });
    const stream = await post(server.url, true);
    const whole = post(server.url, false);
    await expect.poll(() => engine.numRunning).toBe(2);
    await Promise.all([server.shutDown(), server.shutDown()]);
    const events = (await stream.text()).trimEnd().split("\n\n");
    expect(events.at(-1)).toBe("data: [DONE]");
    const { error } = JSON.parse(events.at(-2)?.slice("data: ".length) ?? "") as { error: Record<string, unknown> };
    expect(error).toMatchObject({ code: "draining", message: expect.stringContaining("send it again") });
    const answer = await whole;
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "10"]);
    expect(await answer.json()).toMatchObject({ error: { code: "draining" } });
    expect([engine.numRunning, engine.closed]).toEqual([0, 1]);
  });

  it("does not wait for idle connections", async () => {
    const { server } = await start();
    const feed = await fetch(`${server.url}/dashboard/feed`);
    await fetch(`${server.url}/health`);
    await server.shutDown();
    expect(await feed.text()).toContain("[DONE]");
  });
});
