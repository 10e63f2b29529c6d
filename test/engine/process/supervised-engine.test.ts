import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { EngineClient, EngineOutput, EngineRequest } from "../../../engine/client.ts";
import { EngineDeadError } from "../../../engine/errors.ts";
import { BREAKER_LIMITS } from "../../../engine/process/breaker.ts";
import { type SupervisionEvent, superviseEngine } from "../../../engine/process/supervised-engine.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { testHost } from "../../support/process-hosts.ts";
import { FAULTS, scriptedToken } from "../../support/scripted-engine.ts";

const HOST = testHost("scripted");
const NUM_TOKENS = 12;
/** A hang is found soon, and faults one after the other open no breaker. */
const SETTINGS = {
  host: HOST,
  watchdog: { intervalMs: 50, minSilenceMs: 3_000, stepFactor: 20 },
  breaker: { maxFailures: 100, windowMs: 60_000 },
};
const OPTIONS = { model: "scripted" };

let numRequests = 0;
const request = (fault: keyof typeof FAULTS, salt = 0): EngineRequest => ({
  ...{ id: `sequence-${numRequests++}`, choice: 0, promptTokenIds: [FAULTS[fault], salt] },
  params: { ...GREEDY, maxTokens: NUM_TOKENS },
});
const answerTo = ({ promptTokenIds }: EngineRequest) =>
  Array.from({ length: NUM_TOKENS }, (_, at) => scriptedToken(promptTokenIds, at));

async function read(outputs: AsyncIterable<EngineOutput>) {
  const all: EngineOutput[] = [];
  for await (const output of outputs) all.push(output);
  return { outputs: all, tokenIds: all.flatMap(({ tokenIds }) => tokenIds), last: all.at(-1) };
}

describe("a supervised engine", () => {
  let client: EngineClient;
  beforeAll(async () => {
    ({ client } = await superviseEngine(OPTIONS, SETTINGS));
  });
  afterAll(() => client.close());

  it.each(["kill", "stop", "stall", "loseDevice"] as const)(
    "%s mid-stream: every sequence goes on with the tokens that it would have had",
    async (fault) => {
      const before = client.supervision;
      const requests = [request("none", 1), request(fault, 2), request("none", 3)];
      const runs = await Promise.all(requests.map((one) => read(client.generate(one))));
      expect(runs.map(({ tokenIds }) => tokenIds)).toEqual(requests.map(answerTo));
      for (const { outputs, last } of runs) {
        expect(last?.finishReason).toBe("length");
        // As the engine said that had their first step.
        for (const { queueMs, numCachedTokens } of outputs) expect([queueMs, numCachedTokens]).toEqual([0, 0]);
      }
      expect(client.supervision).toEqual({
        numRestarts: (before?.numRestarts ?? 0) + 1,
        numDeviceLosses: (before?.numDeviceLosses ?? 0) + (fault === "loseDevice" ? 1 : 0),
        numReplays: (before?.numReplays ?? 0) + requests.length,
      });
      await vi.waitFor(() => expect(client.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }));
    },
  );

  it("a request that kills the engine twice is failed alone", async () => {
    const numRestarts = client.supervision?.numRestarts ?? 0;
    const requests = [request("none", 1), request("poison"), request("none", 2), request("none", 3)];
    const [first, poison, ...others] = await Promise.all(requests.map((one) => read(client.generate(one))));
    expect(poison?.last).toMatchObject({ finishReason: "error", error: expect.stringContaining("failed twice") });
    expect(poison?.tokenIds).toEqual(answerTo(request("poison")).slice(0, 4));
    const whole = requests.filter(({ promptTokenIds }) => promptTokenIds[0] === FAULTS.none).map(answerTo);
    expect([first, ...others].map((run) => run?.tokenIds)).toEqual(whole);
    expect(client.supervision?.numRestarts).toBe(numRestarts + 2);
  });

  it("a sequence that the engine fails is no failure of the engine", async () => {
    const before = client.supervision;
    const [whole, failed] = [request("none", 5), request("fail")];
    const [run, { last }] = await Promise.all([read(client.generate(whole)), read(client.generate(failed))]);
    expect(last).toMatchObject({ finishReason: "error", error: "not numbers" });
    expect(run.tokenIds).toEqual(answerTo(whole));
    expect(client.supervision).toEqual(before);
  });

  it("says that it starts again; meanwhile sequences wait for it, or are aborted", async () => {
    const killer = read(client.generate(request("kill")));
    await vi.waitFor(() => expect(client.supervision?.restarting).toMatch(/SIGKILL/), { interval: 1, timeout: 30_000 });
    const late = request("none", 9);
    const abort = new AbortController();
    const [whole, aborted] = [read(client.generate(late)), read(client.generate(request("none"), abort.signal))];
    expect(client.load()).toEqual({ numRunning: 0, numWaiting: 3, kvUsage: 0 });
    abort.abort();
    expect((await aborted).last?.finishReason).toBe("abort");
    expect(client.supervision?.restarting).toBeDefined();
    expect((await whole).tokenIds).toEqual(answerTo(late));
    expect((await killer).last?.finishReason).toBe("length");
    expect(client.supervision?.restarting).toBeUndefined();
  });

  it("a deadline passes while the engine hangs: the reader is told then, the hang is found all the same, others go on", async () => {
    const before = client.supervision;
    const whole = request("none", 6);
    const [hurried, run] = [
      read(client.generate({ ...request("stall"), timeoutMs: 200 })),
      read(client.generate(whole)),
    ];
    expect((await hurried).last).toEqual({ tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "deadline" });
    expect(client.supervision).toEqual(before);
    expect((await run).tokenIds).toEqual(answerTo(whole));
    // Nobody waits for the one that was late, so it is not replayed.
    expect(client.supervision).toMatchObject({
      numRestarts: (before?.numRestarts ?? 0) + 1,
      numReplays: (before?.numReplays ?? 0) + 1,
    });
  });

  it("a deadline passes while the engine is started again, or is kept by the next one", async () => {
    const killer = read(client.generate(request("kill")));
    await vi.waitFor(() => expect(client.supervision?.restarting).toBeDefined(), { interval: 1, timeout: 30_000 });
    const soon = read(client.generate({ ...request("none"), timeoutMs: 1 }));
    const long = { ...request("none"), timeoutMs: 3_600_000 };
    const [late, whole] = [await soon, read(client.generate(long))];
    expect(late.outputs).toEqual([{ tokenIds: [], numAccepted: 0, numDraft: 0, finishReason: "deadline" }]);
    expect(client.supervision?.restarting).toBeDefined();
    expect((await killer).last?.finishReason).toBe("length");
    expect((await whole).tokenIds).toEqual(answerTo(long));
    const slow = { ...request("none"), params: { ...GREEDY, maxTokens: 100_000 }, timeoutMs: 30 };
    expect((await read(client.generate(slow))).last?.finishReason).toBe("deadline");
    await vi.waitFor(() => expect(client.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }));
  });

  it("close during a restart ends everything", async () => {
    const { client } = await superviseEngine(OPTIONS, SETTINGS);
    const run = read(client.generate(request("kill")));
    await vi.waitFor(() => expect(client.supervision?.restarting).toBeDefined(), { interval: 1, timeout: 30_000 });
    await client.close();
    expect((await run).last?.finishReason).toBe("abort");
  });
});

describe("a start that takes a failed engine's place", () => {
  const folder = mkdtempSync(join(tmpdir(), "canopy-starts-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** @param starts how each start goes: the engine's fingerprint, or that it fails */
  async function superviseStarts(...starts: readonly string[]) {
    const model = join(folder, starts.join("-"));
    writeFileSync(model, starts.join("\n"));
    const events: SupervisionEvent[] = [];
    const settings = {
      ...SETTINGS,
      host: testHost("unsteady"),
      onEvent: (event: SupervisionEvent) => events.push(event),
    };
    const options = () => readFileSync(`${model}.options`, "utf8").trim().split("\n");
    return {
      ...(await superviseEngine({ model }, settings)),
      events,
      options: () => options().map((line) => JSON.parse(line)),
    };
  }

  it("and fails is tried again: streams go on with the next one", async () => {
    const { client, events } = await superviseStarts("one", "fails", "one");
    const killer = request("kill");
    expect((await read(client.generate(killer))).tokenIds).toEqual(answerTo(killer));
    expect(events).toEqual([
      { type: "failed", reason: expect.stringContaining("SIGKILL") },
      { type: "failed", reason: "the device is busy" },
      { type: "restarted", ms: expect.any(Number) },
    ]);
    expect(client.supervision).toEqual({ numRestarts: 2, numDeviceLosses: 0, numReplays: 1 });
    await client.close();
  });

  it("is told what the first one has chosen, so that it need not measure, and holds as much", async () => {
    const { client, options } = await superviseStarts("one", "one");
    await read(client.generate(request("kill", 2)));
    const { kernels, maxModelLen, numKvBlocks } = client.info;
    const [{ model }, again] = options();
    expect(again).toEqual({ model, kernels, maxModelLen, numKvBlocks, drafter: "eagle" });
    await client.close();
  });

  it("and comes back as another is refused: streams end with an error that says so, for their text might differ", async () => {
    const { client, events } = await superviseStarts("one", "two");
    const { tokenIds, last } = await read(client.generate(request("kill")));
    expect(tokenIds).toEqual(answerTo(request("kill")).slice(0, tokenIds.length));
    expect(last).toMatchObject({
      finishReason: "error",
      error: expect.stringMatching(/came back as two, .* from one's/),
    });
    expect(() => client.generate(request("none"))).toThrow(EngineDeadError);
    expect(events.map(({ type }) => type)).toEqual(["failed", "gave_up"]);
    await client.close();
  });
});

describe("the breaker", () => {
  it("three failures in a minute end the engine: what is in flight fails, nothing new is taken", async () => {
    const { client } = await superviseEngine(OPTIONS, { ...SETTINGS, breaker: BREAKER_LIMITS });
    for (const salt of [1, 2]) {
      expect((await read(client.generate(request("kill", salt)))).last?.finishReason).toBe("length");
    }
    for (const { tokenIds, last } of await Promise.all([
      read(client.generate(request("kill"))),
      read(client.generate(request("none"))),
    ])) {
      expect(tokenIds.length).toBeLessThan(NUM_TOKENS);
      expect(last).toMatchObject({ finishReason: "error", error: expect.stringMatching(/failed too often.*SIGKILL/) });
    }
    expect(() => client.generate(request("none"))).toThrow(EngineDeadError);
    expect(() => client.load()).toThrow(/restart the server/);
    expect(client.supervision?.numRestarts).toBe(2);
    await client.close();
  });
});

describe("the engine's process", () => {
  it("goes on through the signals of a terminal, and ends with the channel to its parent", async () => {
    const child = fork(HOST.path, [], { serialization: "advanced", execArgv: [...(HOST.execArgv ?? [])] });
    const ask = async (command: unknown) => {
      child.send(command as never);
      return (await once(child, "message"))[0];
    };
    expect(await ask({ type: "start", options: OPTIONS })).toMatchObject({
      type: "ready",
      info: { modelName: "fake" },
    });
    child.kill("SIGINT");
    child.kill("SIGTERM");
    expect(await ask({ type: "ping" })).toEqual({ type: "pong" });
    child.disconnect();
    expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
  });
});
