import { expect, it, vi } from "vitest";
import type { EngineClient, EngineRequest } from "../../../engine/client.ts";
import { EngineDeadError } from "../../../engine/errors.ts";
import { OutputStream } from "../../../engine/output-stream.ts";
import { HostedEngine } from "../../../engine/process/hosted-engine.ts";
import { asCommand, asReport, type Report } from "../../../engine/process/protocol.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { FAKE_INFO } from "../../support/fake-engine.ts";

const LOAD = { numRunning: 2, numWaiting: 0, kvUsage: 0.5 };
const request = (id: string) => ({ id, choice: 0, promptTokenIds: [1], params: GREEDY });
const output = (...tokenIds: number[]) => ({ tokenIds, numAccepted: 0, numDraft: 0 });

/** An engine whose streams the test pushes to. */
function pushedEngine() {
  const streams: OutputStream[] = [];
  let death: EngineDeadError | undefined;
  const client: EngineClient = {
    info: FAKE_INFO,
    generate: (_request: EngineRequest) => {
      const stream = new OutputStream(() => {});
      streams.push(stream);
      return stream;
    },
    onStep: () => () => {},
    load: () => {
      if (death) throw death;
      return LOAD;
    },
    close: async () => {},
  };
  const die = (error: EngineDeadError) => {
    death = error;
  };
  return { client, streams, die };
}

it("one report holds what all sequences got in a step", async () => {
  const { client, streams } = pushedEngine();
  const reports: Report[] = [];
  const hosted = new HostedEngine(client, (report) => reports.push(report));
  for (const key of [7, 8, 9]) hosted.generate(key, request(String(key)));
  for (const [i, stream] of streams.entries()) stream.push(output(i, 10 + i));
  await vi.waitFor(() => expect(reports).toHaveLength(1));
  const outputs = [0, 1, 2].map((i) => ({ key: 7 + i, output: output(i, 10 + i) }));
  expect(reports).toEqual([{ type: "progress", outputs, steps: [], load: LOAD }]);
});

it("a dead engine's sequences are not told to have failed: others may go on with them", async () => {
  const { client, streams, die } = pushedEngine();
  const reports: Report[] = [];
  const hosted = new HostedEngine(client, (report) => reports.push(report));
  hosted.generate(1, request("a"));
  die(new EngineDeadError("a step was poisoned"));
  streams[0]?.push({ ...output(), finishReason: "error", error: "a step was poisoned" });
  await vi.waitFor(() => expect(reports).toHaveLength(1));
  expect(reports).toEqual([{ type: "dead", reason: "a step was poisoned", isDeviceLost: false }]);
});

it("messages of another build are refused", () => {
  expect(asCommand({ type: "abort", key: 3 })).toEqual({ type: "abort", key: 3 });
  for (const wrong of [undefined, 3, {}, { type: "abort" }, { type: "toString" }, { type: "pong" }]) {
    expect(() => asCommand(wrong)).toThrow(/no command/);
  }
  expect(() => asReport({ type: "progress", outputs: [], steps: [] })).toThrow(/no report/);
});
