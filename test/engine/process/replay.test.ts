import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import type { EngineClient } from "../../../engine/client.ts";
import { type SupervisionEvent, superviseEngine } from "../../../engine/process/supervised-engine.ts";
import { WATCHDOG_TIMES } from "../../../engine/process/watchdog.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { testHost } from "../../support/process-hosts.ts";
import { coarseDraftFolder } from "../coarse-draft.ts";

const SETTINGS = {
  host: testHost("faulty"),
  watchdog: { ...WATCHDOG_TIMES.software, minSilenceMs: 4_000 },
  breaker: { maxFailures: 100, windowMs: 60_000 },
};
const [FIRST = [], SECOND = [], THIRD = []] = referencePrompts().map(({ promptTokens }) => promptTokens);
const PENALTIES = { frequencyPenalty: 0.4, repetitionPenalty: 1.1, minTokens: 20 } as const;
/** Greedy, sampled, and sampled with what counts from the prompt's end. */
const SEQUENCES = [
  { promptTokenIds: FIRST, params: { ...GREEDY, maxTokens: 30 }, choice: 0 },
  { promptTokenIds: SECOND, params: { ...GREEDY, temperature: 0.9, seed: [3, 1], maxTokens: 30 }, choice: 1 },
  {
    promptTokenIds: THIRD,
    params: { ...GREEDY, ...PENALTIES, temperature: 1, seed: [8, 0], maxTokens: 30 },
    choice: 0,
  },
] as const;

let numRuns = 0;

/** The texts of all sequences side by side; the second does to its engine what `fault` says. */
const run = (client: EngineClient, fault: string) => {
  // A step that is still in flight when a sequence ends knows of its id.
  const name = `run-${numRuns++}`;
  return Promise.all(
    SEQUENCES.map(async (sequence, i) => {
      const tokenIds: number[] = [];
      const logprobs: number[] = [];
      const params = { ...sequence.params, logprobs: 0 };
      for await (const output of client.generate({
        ...sequence,
        params,
        id: `${name}/${i}/${i === 1 ? fault : "none"}`,
      })) {
        tokenIds.push(...output.tokenIds);
        logprobs.push(...(output.logprobs ?? []).map(({ logprob }) => logprob));
        if (output.finishReason === "error") throw new Error(output.error);
      }
      return { tokenIds, logprobs };
    }),
  );
};

/** What the supervisor says of each. */
const REASONS = {
  kill: /SIGKILL/,
  stop: /answered nothing/,
  destroy: /device was lost/,
  corrupt: /^an invariant is broken: \d+ block tables for \d+ running/,
  hang: /^no step of the engine ended/,
} as const;

const COARSE = coarseDraftFolder();
afterAll(() => rmSync(COARSE, { recursive: true }));

/** All faults once; with other drafters the rest of the engine is the same, and what the device is lost with is not. */
describe.each([
  ["suffix", "suffix", ["kill", "stop", "destroy", "corrupt", "hang"]],
  ["none", "none", ["kill", "destroy"]],
  ["a draft model", COARSE, ["destroy"]],
] as const)("faults of an engine with drafter %s", (_, drafter, faults) => {
  let client: EngineClient;
  let reasons: string[];
  beforeAll(async () => {
    const options = {
      model: "sapling-2m-draft",
      drafter,
      adapter: "software",
      maxModelLen: 256,
      checkInvariants: true,
    } as const;
    reasons = [];
    const onEvent = (event: SupervisionEvent) => {
      if (event.type === "failed") reasons.push(event.reason);
    };
    ({ client } = await superviseEngine(options, { ...SETTINGS, onEvent }));
  });
  afterAll(() => client.close());

  it("killed, stopped, without its device, with a shader that never ends or a broken invariant in the middle of a step: tokens and log-probabilities are the same to the last bit", async () => {
    const undisturbed = await run(client, "none");
    expect(undisturbed.map(({ tokenIds }) => tokenIds.length)).toEqual([30, 30, 30]);
    for (const [i, fault] of faults.entries()) {
      expect(await run(client, fault), fault).toEqual(undisturbed);
      expect(client.supervision?.numRestarts, fault).toBe(i + 1);
    }
    expect(client.supervision?.numDeviceLosses).toBe(1);
    expect(reasons).toEqual(faults.map((fault) => expect.stringMatching(REASONS[fault])));
    // Each of the three sequences in each of the faults, unless it had ended.
    expect(client.supervision?.numReplays).toBeGreaterThan(faults.length);
  });
});
