import { afterEach, describe, expect, it, vi } from "vitest";
import type { EngineClient } from "../../engine/client.ts";
import { type SupervisionEvent, superviseEngine } from "../../engine/process/supervised-engine.ts";
import { createLogger, logSupervision } from "../../server/cli-logger.ts";
import { testHost } from "../support/process-hosts.ts";
import { FAULTS } from "../support/scripted-engine.ts";
import { type ListeningApp, listenOver, post } from "../support/test-app.ts";
import { Recorder } from "./cli-fakes.ts";

let client: EngineClient;
let app: ListeningApp;
let events: SupervisionEvent[];
async function start(): Promise<void> {
  events = [];
  const settings = { host: testHost("scripted"), onEvent: (event: SupervisionEvent) => void events.push(event) };
  ({ client } = await superviseEngine({ model: "scripted" }, settings));
  app = await listenOver(client);
}
afterEach(async () => {
  await app.close();
  await client.close();
});

const get = async (path: string) => {
  const answer = await fetch(app.url + path);
  return { status: answer.status, text: await answer.text() };
};
/** A prompt's first token says what becomes of the engine. */
const complete = (fault: keyof typeof FAULTS) =>
  post(app, "/v1/completions", { prompt: [FAULTS[fault], 1], max_tokens: 12, stream: true });
function chunksOf({ text }: { readonly text: string }) {
  const events = text.trimEnd().split("\n\n");
  expect(events.at(-1)).toBe("data: [DONE]");
  return events.slice(0, -1).map((event) => JSON.parse(event.slice("data: ".length)));
}
const restarting = () =>
  vi.waitFor(() => expect(client.supervision?.restarting).toBeDefined(), { interval: 1, timeout: 30_000 });

describe("the server of an engine that fails", () => {
  it("is live, not ready, and goes on with its streams; counts what happened", async () => {
    await start();
    const answer = complete("kill");
    await restarting();
    const [ready, health] = [await get("/ready"), await get("/health")];
    expect([ready.status, health.status]).toEqual([503, 200]);
    const error = { code: "loading", message: expect.stringContaining("SIGKILL") };
    expect(JSON.parse(ready.text)).toMatchObject({ error });
    const chunks = chunksOf(await answer);
    expect(chunks.at(-1).choices[0].finish_reason).toBe("length");
    expect(chunks.filter((chunk) => "error" in chunk)).toEqual([]);
    expect((await get("/ready")).status).toBe(200);
    const { text: metrics } = await get("/metrics");
    for (const line of ["engine_restarts_total 1", "engine_replays_total 1", "device_lost_total 0"]) {
      expect(metrics).toContain(`canopy_${line}\n`);
    }
    expect(events.map(({ type }) => type)).toEqual(["failed", "restarted"]);
  });

  it("answers 503 when it has failed too often, and says so in its log", async () => {
    await start();
    const ends = [];
    for (let failure = 1; failure <= 3; failure++) ends.push(chunksOf(await complete("kill")).at(-1));
    const whole = { choices: [{ finish_reason: "length" }] };
    expect(ends).toMatchObject([whole, whole, { error: { code: "engine_failed" } }]);
    const [ready, health, refused] = [await get("/ready"), await get("/health"), await complete("none")];
    expect([ready.status, health.status, refused.status]).toEqual([503, 200, 503]);
    for (const { text } of [ready, refused]) expect(JSON.parse(text)).toMatchObject({ error: { code: "engine_dead" } });
    const output = new Recorder();
    for (const event of events) logSupervision(createLogger("info", output), event);
    const [error, info, fatal] = [50, 30, 60];
    expect(output.lines().map(({ level }) => level)).toEqual([error, info, error, info, error, fatal]);
  });
});
