import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LineFit } from "../../../../engine/speculative/budget/line-fit.ts";
import { RestartLoss } from "../../../../engine/speculative/budget/restart-loss.ts";
import type { ObservedStep } from "../../../../engine/speculative/budget/tree-policy.ts";
import { NO_TREES } from "../../../../scheduler/output.ts";
import { Random } from "../../../support/random.ts";

describe("LineFit", () => {
  const points = fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), fc.double({ min: 0, max: 100, noNaN: true })));

  test("is the line that was thought to be before anything was seen", () => {
    const fit = new LineFit(
      [
        [1, 5],
        [4, 11],
      ],
      1,
    );
    expect([1, 2, 8].map((x) => fit.at(x))).toEqual([5, 7, 19]);
  });

  test("finds a line behind noise, whatever it was thought to be", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 4, noNaN: true }), fc.nat(), (slope, seed) => {
        const fit = new LineFit(
          [
            [1, 100],
            [4, 100],
          ],
          1,
        );
        const random = new Random(seed);
        for (let i = 0; i < 1000; i++) {
          const x = random.int(1, 6);
          fit.observe(x, (10 + slope * x) * (0.9 + 0.2 * random.next()));
        }
        for (const x of [1, 6]) expect(Math.abs(fit.at(x) / (10 + slope * x) - 1)).toBeLessThan(0.1);
      }),
      { numRuns: 30 },
    );
  });

  test("never falls, whatever was seen", () => {
    fc.assert(
      fc.property(points, (seen) => {
        const fit = new LineFit(
          [
            [1, 1],
            [4, 2],
          ],
          1,
        );
        for (const [x, y] of seen) fit.observe(x, y);
        expect(fit.at(7)).toBeGreaterThanOrEqual(fit.at(2) - 1e-9);
      }),
    );
  });
});

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
    for (const step of [steady(), start(trees), steady(trees), start(), steady()]) loss.observe(step, 4);
    expect(loss.msPerToken(4, false)).toBe(0);
    expect(loss.msPerToken(4, true)).toBe(0);
  });

  test("is the time around a prompt beyond that of its tokens, over the tokens between two of them", () => {
    const loss = new RestartLoss();
    for (let i = 0; i < 500; i++) {
      // 5 + 3 ms for 8 tokens that take 2 ms when all is steady, every 40 tokens.
      for (const step of [prompt(5), start(), ...Array.from({ length: 8 }, () => steady())]) loss.observe(step, 4);
    }
    expect(loss.msPerToken(4, false)).toBeCloseTo(6 / 40, 2);
    expect(loss.msPerToken(4, true)).toBeGreaterThan(loss.msPerToken(4, false));
    expect(loss.msPerToken(64, false)).toBeCloseTo(6 / 40, 2);
  });

  test("one that took a hundred times as long is not taken for the rule", () => {
    const loss = new RestartLoss();
    for (let i = 0; i < 50; i++) for (const step of [prompt(5), start(), steady()]) loss.observe(step, 4);
    const before = loss.msPerToken(4, false);
    for (const step of [prompt(500), start(), steady()]) loss.observe(step, 4);
    expect(loss.msPerToken(4, false) / before).toBeLessThan(1.3);
  });
});
