import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SwitchCost } from "../../../../engine/speculative/budget/switch-cost.ts";
import { NO_TREES } from "../../../../scheduler/output.ts";

const STEADY = {
  ...{ numSequences: 4, numLanes: 4, context: 100, numRows: 4, numEmitted: 4, limits: NO_TREES, drafts: [] },
  ...{ onDevice: true, isSteady: true, isLast: false, hasPrompt: false, catchesUp: false, stepMs: 30, draftMs: 0 },
};
const STEADY_MS = 30;
const PROMPT = { ...STEADY, onDevice: false, isSteady: false, hasPrompt: true, stepMs: 200 };

/** A run whose first steps take so long, then a steady one. */
function begin(cost: SwitchCost, ...firstMs: readonly number[]): void {
  for (const stepMs of firstMs) cost.observe({ ...STEADY, isSteady: false, stepMs }, () => STEADY_MS);
  cost.observe(STEADY, () => STEADY_MS);
}

describe("SwitchCost", () => {
  test("is what was thought before a start was seen, then what starts lose beyond their steps' own time", () => {
    const lost = fc.double({ min: 0, max: 60, noNaN: true });
    fc.assert(
      fc.property(lost, fc.double({ min: 0, max: 100, noNaN: true }), (ms, thoughtMs) => {
        const cost = new SwitchCost();
        expect(cost.ms(4, thoughtMs)).toBe(thoughtMs);
        // The first of two steps in flight is read late, the second early.
        for (let i = 0; i < 500; i++) begin(cost, 1.6 * STEADY_MS + ms, 0.4 * STEADY_MS);
        expect(Math.abs(cost.ms(4, thoughtMs) - ms)).toBeLessThan(0.01 + Math.abs(thoughtMs - ms) / 16);
        // Nothing was seen at another load.
        expect(cost.ms(32, thoughtMs)).toBe(thoughtMs);
      }),
    );
  });

  test("steps of the host and steady ones tell nothing", () => {
    const cost = new SwitchCost();
    for (const step of [PROMPT, STEADY, { ...STEADY, stepMs: 100 }]) cost.observe(step, () => STEADY_MS);
    expect(cost.ms(4, 7)).toBe(7);
  });

  test("what took much longer was something else, and no start gains time", () => {
    const [slow, fast] = [new SwitchCost(), new SwitchCost()];
    for (let i = 0; i < 500; i++) begin(slow, 10_000);
    expect(slow.ms(4, 0)).toBeLessThanOrEqual(2 * STEADY_MS);
    expect(slow.ms(4, 0)).toBeGreaterThan(STEADY_MS);
    for (let i = 0; i < 500; i++) begin(fast, 1, 1);
    expect(fast.ms(4, 0)).toBe(0);
  });

  test("a start counts for the load that it had, also where a prompt of another load ends it", () => {
    const cost = new SwitchCost();
    for (let i = 0; i < 500; i++) {
      cost.observe({ ...STEADY, isSteady: false, stepMs: STEADY_MS + 20 }, () => STEADY_MS);
      cost.observe({ ...PROMPT, numLanes: 8, numSequences: 8 }, () => STEADY_MS);
    }
    expect(cost.ms(4, 0)).toBeGreaterThan(18);
    expect(cost.ms(8, 7)).toBe(7);
  });
});
