import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { randomWords } from "../../bench/random.ts";
import { parseMetrics } from "../../bench/serve/scrape.ts";
import { send } from "../../bench/soak/client.ts";
import type { Reading } from "../../bench/soak/readings.ts";
import { nextRequest } from "../../bench/soak/traffic.ts";
import { judge, slopeOf } from "../../bench/soak/verdict.ts";
import { startApp, stepsOf, type TestApp } from "../support/test-app.ts";

const MIB = 2 ** 20;
const words = randomWords(7);
const random = () => words() / 2 ** 32;

/** What a sound server is read as: its heaps saw up and down by garbage. */
function sound(minutes: number): Reading {
  return {
    minutes,
    ...{ serverHeapBytes: (40 + 10 * random()) * MIB, engineHeapBytes: (20 + 5 * random()) * MIB },
    ...{ serverBytes: 100 * MIB, engineBytes: 400 * MIB, gpuBytes: 250 * MIB, numGpuBuffers: 133 },
    ...{ serverFiles: 38, engineFiles: 21, kvUsage: 0, numSequences: 0, eventLoopP99Ms: 12 },
  };
}

/** Half an hour of a server that is `sound` but for what `leak` does to a reading. */
function failedChecks(leak: (reading: Reading) => Partial<Reading>): string[] {
  const read = (minutes: number) => ({ ...sound(minutes), ...leak(sound(minutes)) });
  const loaded = Array.from({ length: 300 }, (_, i) => read(3 + i / 12));
  const idle = Array.from({ length: 6 }, (_, i) => read(3 + 5 * i));
  const checks = judge({ loaded, idle, outcomes: [{ kind: "whole", status: 200 }] });
  return checks.filter(({ passed }) => !passed).map(({ what }) => what);
}

describe("the verdict on a soak", () => {
  it("finds nothing in a sound server", () => {
    expect(failedChecks(() => ({}))).toEqual([]);
  });

  it.each([
    ["heap of the server", ({ minutes }: Reading) => ({ serverHeapBytes: (40 + 1.5 * minutes + 10 * random()) * MIB })],
    ["heap of the engine", ({ minutes }: Reading) => ({ engineHeapBytes: (20 + 1.5 * minutes + 5 * random()) * MIB })],
    ["files of the idle server", ({ minutes }: Reading) => ({ serverFiles: 38 + Math.floor(minutes / 5) })],
    ["files of the idle engine", ({ minutes }: Reading) => ({ engineFiles: 21 + Math.floor(minutes / 5) })],
    ["bytes on the device, idle", ({ minutes }: Reading) => ({ gpuBytes: 250 * MIB + 16 * Math.floor(minutes / 20) })],
    ["buffers on the device, idle", ({ minutes }: Reading) => ({ numGpuBuffers: minutes > 20 ? 134 : 133 })],
    ["sequences of the idle server", () => ({ numSequences: 1 })],
    ["share of KV blocks held, idle", ({ minutes }: Reading) => ({ kvUsage: minutes > 20 ? 1 / 512 : 0 })],
  ])("finds a leak: %s", (what, leak) => {
    expect(failedChecks(leak)).toEqual([what]);
  });

  it("finds a request that went wrong, and wants enough to look at", () => {
    const figures = { loaded: [sound(1), sound(2)], idle: [sound(0), sound(3)] };
    const wrong = { kind: "whole", status: 500, problem: "status 500 in place of 200" };
    expect(judge({ ...figures, outcomes: [wrong] })[0]).toMatchObject({ passed: false, found: "1 of 1" });
    expect(() => judge({ ...figures, idle: [sound(0)], outcomes: [] })).toThrow(RangeError);
  });

  it("fits a line", () => {
    expect(slopeOf([1, 2, 3, 4].map((x) => [x, 5 - 3 * x]))).toBeCloseTo(-3, 12);
    expect(slopeOf([1, 2, 3].map((x) => [x, x % 2]))).toBeCloseTo(0, 12);
  });
});

it("reads metrics without labels", () => {
  const text = '# HELP a_p99 what\na_p99 1.5\nb{x="y"} 2\nc_total 3e-2\n';
  expect([...parseMetrics(text)]).toEqual([
    ["a_p99", 1.5],
    ["c_total", 0.03],
  ]);
});

describe("the soak's traffic", () => {
  let app: TestApp;
  let broken: TestApp;
  beforeAll(async () => {
    // The answer is longer than any request of the traffic asks for.
    const answer = () => stepsOf("a lamp and a lantern, ".repeat(20));
    app = await startApp({ answer });
    broken = await startApp({ answer, failAfterSteps: 2 });
  });
  afterAll(async () => {
    await app.close();
    await broken.close();
  });

  it("is answered as it expects, by a server that works", async () => {
    const requests = Array.from({ length: 80 }, () => nextRequest(random));
    expect(new Set(requests.map(({ kind }) => kind)).size).toBeGreaterThan(9);
    const fitting = requests.filter(({ kind }) => kind !== "long prompt");
    const outcomes = await Promise.all(fitting.map((request) => send(app.url, request)));
    expect(outcomes.flatMap(({ kind, problem }) => (problem === undefined ? [] : [`${kind}: ${problem}`]))).toEqual([]);
    expect(outcomes.filter(({ status }) => status === 200).length).toBeGreaterThan(30);
    expect(app.engine.numAborted).toBeGreaterThan(0);
  });

  it("tells streams and answers that failed from others", async () => {
    const ask = (stream: boolean) =>
      send(broken.url, {
        ...{ kind: "test", path: "/v1/completions", status: 200 },
        body: { prompt: "Once", max_tokens: 30, stream },
      });
    expect((await ask(true)).problem).toContain("stream failed");
    expect(await ask(false)).toMatchObject({ status: 500, problem: expect.stringContaining("status 500") });
    const nobody = await send("http://127.0.0.1:1", { kind: "test", path: "/", body: {}, status: 200 });
    expect(nobody.problem).toBeDefined();
  });
});
