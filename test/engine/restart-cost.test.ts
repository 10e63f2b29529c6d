import { describe, expect, test } from "vitest";
import { RestartCost } from "../../engine/restart-cost.ts";
import type { ObservedStep } from "../../engine/speculative/budget/tree-policy.ts";
import { NO_TREES } from "../../scheduler/output.ts";
import { Random } from "../support/random.ts";

const NUM_SEQUENCES = 16;
/** What a steady step takes and emits, and how much longer the first step of a run takes. */
const [STEADY_MS, NUM_EMITTED, START_MS] = [2, 40, 1.5];

function step(kind: "steady" | "start" | "prompt", stepMs: number, numPromptRows = 0): ObservedStep {
  const onDevice = kind !== "prompt";
  return {
    ...{
      numSequences: NUM_SEQUENCES,
      numLanes: NUM_SEQUENCES,
      context: 100,
      limits: NO_TREES,
      isLast: false,
      catchesUp: false,
      draftMs: 0,
      drafts: [],
      stepMs,
      onDevice,
    },
    numRows: NUM_SEQUENCES + numPromptRows,
    numEmitted: onDevice ? NUM_EMITTED : NUM_SEQUENCES,
    isSteady: kind === "steady",
    hasPrompt: kind === "prompt",
  };
}

/** Runs of eight steps, each stopped by prompts of up to 64 rows whose step takes `fixedMs` and `rowMs` for each row. */
function observed(fixedMs: number, rowMs: number, noise: () => number): RestartCost {
  const cost = new RestartCost();
  const random = new Random(7);
  for (let run = 0; run < 300; run++) {
    const numPromptRows = 1 + Math.floor(64 * random.next());
    cost.observe(step("prompt", (fixedMs + rowMs * numPromptRows) * noise(), numPromptRows));
    cost.observe(step("start", (STEADY_MS + START_MS) * noise()));
    cost.observe(step("start", STEADY_MS * noise()));
    for (let i = 0; i < 6; i++) cost.observe(step("steady", STEADY_MS * noise()));
  }
  return cost;
}

describe("what a restart costs", () => {
  const random = new Random(3);
  const noise = () => 0.9 + 0.2 * random.next();
  /** Of a step with prompts, what its tokens would take in steady decoding. */
  const earnedMs = (NUM_SEQUENCES * STEADY_MS) / NUM_EMITTED;

  test.each([
    [3, 0],
    [3, 0.05],
    [1, 0.2],
  ])(
    "is lost by a step with prompts of %f ms, their rows left out, and by the first steps of a run",
    (fixedMs, rowMs) => {
      const expected = START_MS + fixedMs - earnedMs;
      expect(observed(fixedMs, rowMs, () => 1).ms).toBeCloseTo(expected, 1);
      expect(Math.abs(observed(fixedMs, rowMs, noise).ms - expected)).toBeLessThan(0.25 * expected + 0.3);
    },
  );

  test("is nothing before steady decoding was seen, and never less", () => {
    const cost = new RestartCost();
    expect(cost.ms).toBe(0);
    for (let i = 0; i < 20; i++) cost.observe(step("prompt", 50, 30));
    expect(cost.ms).toBe(0);
    for (let i = 0; i < 20; i++) cost.observe(step("steady", STEADY_MS));
    for (let i = 0; i < 20; i++) cost.observe(step("prompt", 0.01, 30));
    expect(cost.ms).toBe(0);
  });

  test("is not known where all prompts have as many rows: it is the rows' then, for the most part", () => {
    const cost = new RestartCost();
    for (let run = 0; run < 300; run++) {
      for (let i = 0; i < 8; i++) cost.observe(step("steady", STEADY_MS));
      cost.observe(step("prompt", 10, 64));
    }
    expect(cost.ms).toBeLessThan(1);
  });
});
