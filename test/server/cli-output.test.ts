import { describe, expect, it } from "vitest";
import type { StepStats } from "../../engine/client.ts";
import { EngineOptionsError, ModelFileError } from "../../engine/errors.ts";
import { GpuError } from "../../kernels/errors.ts";
import { urlOf } from "../../server/banner.ts";
import { explain, formatExplanation } from "../../server/cli-errors.ts";
import { createLogger, formatLine } from "../../server/cli-logger.ts";
import { logStats, StatsInterval } from "../../server/cli-stats.ts";
import { UsageError } from "../../server/config-load.ts";
import { onStopSignals, type StopSignal } from "../../server/shutdown.ts";
import { HeldEngine, Recorder } from "./cli-fakes.ts";

describe("signals", () => {
  function watch() {
    const listeners = new Map<StopSignal, (signal: StopSignal) => void>();
    const calls: (string | number)[] = [];
    let nowMs = 0;
    onStopSignals(
      { on: (signal, listener) => listeners.set(signal, listener) },
      () => calls.push("stop"),
      (code) => calls.push(code),
      () => nowMs,
    );
    const send = (signal: StopSignal, atMs: number) => {
      nowMs = atMs;
      listeners.get(signal)?.(signal);
    };
    return { calls, send };
  }

  it("stop once, then leave at once", () => {
    const { calls, send } = watch();
    send("SIGTERM", 0);
    expect(calls).toEqual(["stop"]);
    send("SIGTERM", 500);
    expect(calls).toEqual(["stop", 143]);
  });

  it("take an echo of Ctrl-C through npm for one wish", () => {
    const { calls, send } = watch();
    send("SIGINT", 0);
    send("SIGINT", 5);
    expect(calls).toEqual(["stop"]);
    send("SIGINT", 300);
    expect(calls).toEqual(["stop", 130]);
  });
});

describe("errors", () => {
  const config = { host: "127.0.0.1", port: 8181 };
  const system = (code: string) => Object.assign(new Error(code), { code });

  it.each([
    [new UsageError("bad"), 2, "bad", undefined],
    [new EngineOptionsError("token-budget is 2"), 2, "token-budget is 2", "--help"],
    [new ModelFileError("not_found", "x", "bundled: a, b"), 1, "x: bundled: a, b", "canopy serve sapling-14m"],
    [new ModelFileError("truncated", "x", "cut"), 1, "x: cut", "download or copy it again"],
    [new GpuError("no_adapter", "Install a Vulkan driver"), 1, "Install a Vulkan driver", undefined],
    [new GpuError("out_of_memory", "needs 9 GiB"), 1, "needs 9 GiB", "--kv-blocks"],
    [system("EADDRINUSE"), 1, "port 8181 on 127.0.0.1 is in use", "--port 8182"],
    [system("EACCES"), 1, "may not listen on port 8181", "--port 8181"],
    [system("EADDRNOTAVAIL"), 1, "127.0.0.1 is no address of this machine", "--host 127.0.0.1"],
    [system("EBADF"), 1, "EBADF", "report"],
    ["a string", 1, "a string", "report"],
  ])("%s", (error, exitCode, cause, fix) => {
    const explained = explain(error, config);
    expect(explained.exitCode).toBe(exitCode);
    expect(explained.cause).toContain(cause);
    if (fix === undefined) expect(explained.fix).toBeUndefined();
    else expect(explained.fix).toContain(fix);
    expect(formatExplanation(explained)).toMatch(/^canopy: .*\n/);
  });
});

describe("log", () => {
  it("is JSON where no person looks, lines on a terminal", () => {
    const [machine, person] = [new Recorder(), new Recorder(true)];
    for (const output of [machine, person]) createLogger("info", output).info({ status: 200, route: "/v1" }, "request");
    expect(machine.lines()).toMatchObject([{ level: 30, status: 200, route: "/v1", msg: "request" }]);
    expect(person.text).toMatch(/^\d\d:\d\d:\d\d info {2}request status=200 route=\/v1\n$/);
  });

  it("shows an error's stack below its line, and colours where they are wanted", () => {
    const json = JSON.stringify({ level: 50, time: 0, msg: "failed", err: { message: "m", stack: "Error: m\n at x" } });
    expect(formatLine(json, false)).toMatch(/error failed\nError: m\n at x\n$/);
    expect(formatLine(json, true)).toContain("\x1b[31merror\x1b[0m");
  });

  it("keeps to its level", () => {
    const output = new Recorder();
    createLogger("warn", output).info("quiet");
    expect(output.text).toBe("");
  });
});

describe("stats line", () => {
  const step = (numDraft: number, numAccepted: number): StepStats => ({
    ...{
      numRunning: 2,
      numWaiting: 1,
      kvUsage: 0.25,
      ...{ numPrefillTokens: 4, numPrefixQueryTokens: 4, numPrefixHitTokens: 0 },
      numRows: 8,
      numEmittedTokens: 1 + numAccepted,
    },
    ...{ numPreemptions: 0, draftMs: 1, verifyMs: 1, commitMs: 1, stepMs: 3 },
    sequences: [{ id: "a", numDraft, numAccepted }],
  });

  it("sums an interval up and is quiet after one without steps", () => {
    const interval = new StatsInterval();
    for (const [numDraft, numAccepted] of [
      [7, 3],
      [7, 0],
      [0, 0],
    ] as const)
      interval.add(step(numDraft, numAccepted));
    expect(interval.take(2)).toEqual({
      ...{ tokensPerSecond: 3, promptTokensPerSecond: 6, running: 2, waiting: 1, kvPercent: 25, acceptanceLength: 2.5 },
    });
    expect(interval.take(2)).toBeUndefined();
    interval.add(step(0, 0));
    expect(interval.take(1)).not.toHaveProperty("acceptanceLength");
  });

  it("is logged at each interval in which the engine worked, until stopped", async () => {
    const engine = new HeldEngine({ model: "m" });
    const output = new Recorder();
    const stop = logStats(engine, createLogger("info", output), 5);
    for (const listener of engine.listeners) listener(step(7, 3));
    await expect.poll(() => output.text).toContain('"msg":"stats"');
    expect(output.lines()).toHaveLength(1);
    stop();
    expect(engine.listeners.size).toBe(0);
  });
});

describe("urlOf", () => {
  it.each([
    ["127.0.0.1", "http://127.0.0.1:80"],
    ["0.0.0.0", "http://127.0.0.1:80"],
    ["::", "http://127.0.0.1:80"],
    ["::1", "http://[::1]:80"],
    ["box.example", "http://box.example:80"],
  ])("%s", (host, url) => expect(urlOf(host, 80)).toBe(url));
});
