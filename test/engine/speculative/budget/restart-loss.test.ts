import { describe, expect, test } from "vitest";
import { RestartLoss } from "../../../../engine/speculative/budget/restart-loss.ts";
import type { ObservedStep } from "../../../../engine/speculative/budget/tree-policy.ts";
import { NO_TREES, type TreeLimits } from "../../../../scheduler/output.ts";

describe("RestartLoss", () => {
  const base = {
    numSequences: 4,
    numLanes: 4,
    context: 9,
    numRows: 4,
    isLast: false,
    catchesUp: false,
    draftMs: 0,
    drafts: [],
    onDevice: true,
  };
  const trees = { numLookaheadNodes: 3, maxDraftDepth: 2 };
  const steady = (limits = NO_TREES, numEmitted = 4): ObservedStep => ({
    ...{ ...base, limits, numEmitted, isSteady: true, hasPrompt: false, stepMs: 1 },
  });
  const prompt = (stepMs: number): ObservedStep => ({
    ...{ ...base, limits: NO_TREES, numEmitted: 4, isSteady: false, hasPrompt: true, stepMs },
  });
  const start = (limits = NO_TREES): ObservedStep => ({ ...steady(limits), isSteady: false, stepMs: 3 });

  test("is nothing where nothing was computed but decodes, also where trees change", () => {
    const loss = new RestartLoss();
    for (const step of [steady(), start(trees), steady(trees), start(), steady()]) loss.observe(step, () => 4);
    expect(loss.msPerToken(4, false)).toBe(0);
    expect(loss.msPerToken(4, true)).toBe(0);
  });

  test("is the time around a prompt beyond that of its tokens, over the tokens between two of them", () => {
    const loss = new RestartLoss();
    for (let i = 0; i < 500; i++) {
      // 5 + 3 ms for 8 tokens that take 2 ms when all is steady, every 40 tokens.
      for (const step of [prompt(5), start(), ...Array.from({ length: 8 }, () => steady())])
        loss.observe(step, () => 4);
    }
    expect(loss.msPerToken(4, false)).toBeCloseTo(6 / 40, 2);
    expect(loss.msPerToken(4, true)).toBeGreaterThan(loss.msPerToken(4, false));
    expect(loss.msPerToken(64, false)).toBeCloseTo(6 / 40, 2);
  });

  test("one that took a hundred times as long is not taken for the rule", () => {
    const loss = new RestartLoss();
    for (let i = 0; i < 50; i++) for (const step of [prompt(5), start(), steady()]) loss.observe(step, () => 4);
    const before = loss.msPerToken(4, false);
    for (const step of [prompt(500), start(), steady()]) loss.observe(step, () => 4);
    expect(loss.msPerToken(4, false) / before).toBeLessThan(1.3);
  });

  test("what is learned while drafts are in use or not counts for both, and what drafts add is learned when they are", () => {
    const loss = new RestartLoss();
    const restart = (limits: TreeLimits, ms: number) => {
      for (const step of [prompt(ms + 1), ...Array.from({ length: 9 }, () => steady(limits))])
        loss.observe(step, () => 4);
    };
    const ratio = () => loss.msPerToken(4, true) / loss.msPerToken(4, false);
    for (let i = 0; i < 40; i++) restart(trees, 120);
    for (let i = 0; i < 40; i++) restart(NO_TREES, 100);
    expect(ratio()).toBeGreaterThan(1.1);
    expect(ratio()).toBeLessThan(1.35);
    // Now all prompts are cached.
    for (let i = 0; i < 100; i++) restart(NO_TREES, 10);
    expect(loss.msPerToken(4, false)).toBeCloseTo(10 / 40, 2);
    expect(ratio()).toBeLessThan(1.35);
    for (let i = 0; i < 40; i++) restart(trees, 20);
    expect(loss.msPerToken(4, true)).toBeCloseTo(20 / 40, 1);
    expect(ratio()).toBeGreaterThan(1.5);
  });

  test("where another load begins all prompts come at once: that tells nothing of those that follow", () => {
    const [steadily, first] = [new RestartLoss(), new RestartLoss()];
    const at = (numLanes: number, step: ObservedStep) => ({ ...step, numLanes, numSequences: numLanes });
    const restart = (loss: RestartLoss, numLanes: number, ms: number) => {
      for (const step of [prompt(ms + 1), ...Array.from({ length: 9 }, () => steady())])
        loss.observe(at(numLanes, step), () => 4);
    };
    for (const loss of [steadily, first]) for (let i = 0; i < 20; i++) restart(loss, 2, 40);
    restart(steadily, 2, 40);
    restart(first, 4, 400);
    expect(first.msPerToken(4, false)).toBeCloseTo(steadily.msPerToken(4, false), 6);
    for (let i = 0; i < 60; i++) restart(first, 4, 60);
    expect(first.msPerToken(4, false)).toBeCloseTo(60 / 40, 1);
  });

  test("drafts make no restart cheaper, whatever seems so", () => {
    const loss = new RestartLoss();
    for (let i = 0; i < 30; i++)
      for (const [limits, ms] of [[NO_TREES, 80] as const, [trees, 40] as const])
        for (const step of [steady(limits), prompt(ms + 1), ...Array.from({ length: 9 }, () => steady(limits))])
          loss.observe(step, () => 4);
    expect(loss.msPerToken(4, true)).toBe(loss.msPerToken(4, false));
  });
});
