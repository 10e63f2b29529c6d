import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CatchUpCost } from "../../../../engine/speculative/budget/catch-up-cost.ts";
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

  test("drafters that have seen most of the tokens tell nothing; after as many plain steps as texts are long they do", () => {
    const cost = new CatchUpCost();
    cost.observe(caughtUp(430), targetMs);
    cost.observe(TREES, targetMs);
    for (let i = 0; i < 99; i++) cost.observe(STEP, targetMs);
    cost.observe(caughtUp(50), targetMs);
    cost.observe(STEP, targetMs);
    expect(cost.ms(1, 1)).toBeCloseTo(1, 9);
    for (let i = 0; i < 100; i++) cost.observe(STEP, targetMs);
    cost.observe(caughtUp(50), targetMs);
    cost.observe(STEP, targetMs);
    expect(cost.ms(1, 1)).toBeLessThan(1);
    expect(cost.ms(1, 1)).toBeGreaterThan(0.05);
  });

  test("a step that takes less than the target alone costs nothing", () => {
    const cost = new CatchUpCost();
    cost.observe(caughtUp(20), targetMs);
    expect(cost.ms(4, 100)).toBe(0);
  });
});
