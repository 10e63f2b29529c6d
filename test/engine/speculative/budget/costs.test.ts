import { describe, expect, test } from "vitest";
import { CostModel } from "../../../../engine/speculative/budget/cost-model.ts";
import { RestartLoss } from "../../../../engine/speculative/budget/restart-loss.ts";
import type { ObservedStep } from "../../../../engine/speculative/budget/tree-policy.ts";
import { NO_TREES } from "../../../../scheduler/output.ts";
import { Random } from "../../../support/random.ts";

describe("RestartLoss", () => {
  const base = { numSequences: 4, numRows: 4, draftMs: 0, drafts: [], onDevice: true };
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
});

test("a machine that is faster and slower by the moment is not taken for another one, whatever seems best is in use", () => {
  for (let seed = 1; seed <= 8; seed++) {
    const random = new Random(seed);
    const trueMs = ({ numNodes, depth }: { numNodes: number; depth: number }) => 0.6 + 0.002 * numNodes + 0.1 * depth;
    const passes = [1, 16].map((numRows) => ({ numRows, ms: 0.6 + 0.002 * numRows }));
    const model = new CostModel({ passes, plainOnDevice: true, draftRows: 1, draftsOnDevice: true });
    const sizes = [2, 4, 8, 16].flatMap((numNodes) =>
      [1, 2, 3, 4].filter((depth) => depth < numNodes).map((depth) => ({ numSequences: 1, numNodes, depth })),
    );
    let gust = 0;
    const gusts = () => {
      gust = 0.96 * gust + 0.3 * 0.28 * (2 * random.next() - 1) * Math.sqrt(3);
      return Math.exp(gust);
    };
    for (let i = 0; i < 20; i++) model.observePlain(1, 0.6 * gusts());
    for (let run = 0; run < 120; run++) {
      // What seems to take the least beside what it truly takes, or now and then any.
      const seeming = sizes.map((size) => model.wholeMs(size) / trueMs(size));
      const best = sizes[run % 4 === 0 ? random.int(0, sizes.length - 1) : seeming.indexOf(Math.min(...seeming))];
      if (best) for (let i = 0; i < 32; i++) model.observeWhole(best, trueMs(best) * gusts());
    }
    expect(Math.abs(Math.log(model.plainMs(1) / 0.6))).toBeLessThan(0.75);
  }
});
