import { setTimeout } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { StepStats } from "../../engine/client.ts";
import { createEngine } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { Regrouping } from "../../engine/regrouping.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { FixedTrees, type ObservedStep } from "../../engine/speculative/budget/tree-policy.ts";
import { type EndedStep, StepReports } from "../../engine/step-reports.ts";
import { NO_TREES } from "../../scheduler/output.ts";

const LOAD = { numWaiting: 0, numRunning: 1, kvUsage: 0 };

function ended(startMs: number, numBehind: number): EndedStep {
  const output = { sequences: [], limits: NO_TREES, numTokens: 0, preemptedIds: [], admitted: [], copies: [] };
  return {
    output: { ...output, stepId: 0, numLookaheadNodes: 0, lacksBlocks: false },
    ...{ startMs, numBehind, numBefore: 2, onDevice: true, numLanes: 1, catchesUp: false },
    ...{ verified: [], committed: [], times: { draftMs: 0, verifiedMs: startMs } },
  };
}

describe("step reports", () => {
  afterEach(() => vi.restoreAllMocks());

  it("keep the policy and listeners out of the way while other steps are under way, and tell of each step once", () => {
    let nowMs = 0;
    vi.spyOn(performance, "now").mockImplementation(() => nowMs);
    const [policy, regrouping] = [new FixedTrees(NO_TREES), new Regrouping()];
    const learned: ObservedStep[] = [];
    vi.spyOn(policy, "observe").mockImplementation((step) => void learned.push(step));
    const regrouped = vi.spyOn(regrouping, "observe");
    const reports = new StepReports(policy, regrouping, 2);
    const told: StepStats[] = [];
    reports.listen((stats) => told.push(stats));
    const counts = () => [regrouped.mock.calls.length, learned.length, told.length];
    nowMs = 5;
    reports.tell(ended(2, 1), LOAD);
    expect(counts()).toEqual([1, 0, 0]);
    nowMs = 9;
    reports.flush();
    reports.flush();
    expect(counts()).toEqual([1, 1, 1]);
    // What the host did between is not the step's time, but the next one's.
    expect(told[0]?.stepMs).toBe(3);
    nowMs = 11;
    reports.tell(ended(4, 0), LOAD);
    expect(counts()).toEqual([2, 2, 2]);
    expect(learned.map(({ stepMs, isLast }) => ({ stepMs, isLast }))).toEqual([
      { stepMs: 3, isLast: false },
      { stepMs: 6, isLast: true },
    ]);
  });

  it("have told of all that was emitted when an engine is paused", async () => {
    const options = { model: "sapling-2m-draft", drafter: "none", adapter: "software", maxModelLen: 256 } as const;
    const engine = (await createEngine(options)).client as Engine;
    let [numTold, numRead] = [0, 0];
    engine.onStep(({ numEmittedTokens }) => {
      numTold += numEmittedTokens;
    });
    const promptTokenIds = referencePrompts()[0]?.promptTokens ?? [];
    const params = { ...GREEDY, maxTokens: 60, ignoreEos: true };
    const read = (async () => {
      for await (const { tokenIds } of engine.generate({ id: "one", choice: 0, promptTokenIds, params }))
        numRead += tokenIds.length;
    })();
    for (let wanted = 4; wanted < 40; wanted += 4) {
      await vi.waitFor(() => expect(numRead).toBeGreaterThanOrEqual(wanted), { interval: 1 });
      await engine.pause();
      await setTimeout(1);
      expect(numTold).toBe(numRead);
      engine.resume();
    }
    await read;
    expect([numTold, numRead]).toEqual([60, 60]);
    await engine.close();
  });
});
