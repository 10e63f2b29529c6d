import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CatchUpCost } from "../../../../engine/speculative/budget/catch-up-cost.ts";
import type { ObservedStep } from "../../../../engine/speculative/budget/tree-policy.ts";
import { NO_TREES } from "../../../../scheduler/output.ts";

const STEP = {
  ...{ numSequences: 4, numLanes: 4, context: 100, numRows: 4, numEmitted: 4, limits: NO_TREES, drafts: [] },
  ...{ onDevice: true, isSteady: true, isLast: false, hasPrompt: false, catchesUp: false, stepMs: 30, draftMs: 0 },
};
const TREES = { ...STEP, limits: { numLookaheadNodes: 1, maxDraftDepth: 1 } };
const caughtUp = (stepMs: number) => ({ ...STEP, onDevice: false, isSteady: false, catchesUp: true, stepMs });
const targetMs = () => 30;

describe("CatchUpCost", () => {
  test("is nothing before it was seen, then what a token took of each sequence, for as many as were not drafted for, or as there are", () => {
    const positive = fc.double({ min: 0.01, max: 10, noNaN: true });
    fc.assert(
      fc.property(
        positive,
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 4000 }),
        (ms, count, context) => {
          const cost = new CatchUpCost();
          expect(cost.ms(count, context)).toBe(0);
          cost.observe(caughtUp(30 + ms * 4 * 100), targetMs);
          for (let i = 0; i < 50; i++) {
            expect(cost.ms(count, context)).toBeCloseTo(ms * count * Math.min(context, i), 6);
            cost.observe(STEP, targetMs);
          }
        },
      ),
    );
  });

  const afterPlain = (cost: CatchUpCost, count: number, step: ObservedStep) => {
    cost.observe(TREES, targetMs);
    for (let i = 0; i < count; i++) cost.observe(STEP, targetMs);
    cost.observe(step, targetMs);
    cost.observe(STEP, targetMs);
  };

  test("once it was seen by itself, neither few tokens nor prompts tell anything; it follows what is seen of all tokens", () => {
    const cost = new CatchUpCost();
    afterPlain(cost, 100, caughtUp(430));
    afterPlain(cost, 99, caughtUp(50));
    afterPlain(cost, 100, { ...caughtUp(5000), hasPrompt: true });
    expect(cost.ms(1, 1)).toBeCloseTo(1, 9);
    afterPlain(cost, 100, caughtUp(50));
    expect(cost.ms(1, 1)).toBeCloseTo(1 - 0.3 * 0.95, 9);
  });

  test.each(["part", "prompt"])("before that it is the least of what few tokens and prompts say, %s first", (first) => {
    const cost = new CatchUpCost();
    const seen: [number, ObservedStep][] = [
      [10, caughtUp(30 + 2 * 40)],
      [200, { ...caughtUp(30 + 5 * 400), hasPrompt: true }],
    ];
    const [one, other] = first === "part" ? seen : [...seen].reverse();
    if (one) afterPlain(cost, ...one);
    expect(cost.ms(1, 1)).toBeCloseTo(first === "part" ? 2 : 5, 9);
    if (other) afterPlain(cost, ...other);
    expect(cost.ms(1, 1)).toBeCloseTo(2, 9);
    afterPlain(cost, 100, caughtUp(30 + 3 * 400));
    expect(cost.ms(1, 1)).toBeCloseTo(3, 9);
  });

  test("a step that takes less than the target alone costs nothing", () => {
    const cost = new CatchUpCost();
    cost.observe(caughtUp(20), targetMs);
    expect(cost.ms(4, 100)).toBe(0);
  });
});
