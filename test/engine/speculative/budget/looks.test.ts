import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gainOfLooking } from "../../../../engine/speculative/budget/gain-of-looking.ts";
import { Looks } from "../../../../engine/speculative/budget/looks.ts";
import type { Way } from "../../../../engine/speculative/budget/ways.ts";
import { Random } from "../../../support/random.ts";

describe("gainOfLooking", () => {
  test("is what taking the better one after the look brings, by drawing worths and looks", () => {
    const random = new Random(7);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
    for (const [lead, variance, noise] of [
      [0, 0.04, 0.01],
      [-0.1, 0.04, 0.01],
      [0.1, 0.02, 0.05],
      [-0.3, 0.09, 0.02],
    ] as const) {
      let gain = 0;
      const numDraws = 200_000;
      for (let i = 0; i < numDraws; i++) {
        const worth = lead + Math.sqrt(variance) * normal();
        const seen = worth + Math.sqrt(noise) * normal();
        const thought = lead + (variance / (variance + noise)) * (seen - lead);
        gain += (thought > 0 ? worth : 0) - (lead > 0 ? worth : 0);
      }
      expect(Math.abs(gain / numDraws - gainOfLooking(lead, variance, noise))).toBeLessThan(0.001);
    }
  });

  test("is nothing where nothing is to be learned, more the less is known, and less the clearer the case is", () => {
    const positive = fc.double({ min: 1e-4, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.double({ min: -2, max: 2, noNaN: true }), positive, positive, positive, (lead, a, b, noise) => {
        expect(gainOfLooking(lead, 0, noise)).toBe(0);
        const [less, more] = [Math.min(a, b), Math.max(a, b)];
        const slack = 1e-7;
        expect(gainOfLooking(lead, more, noise)).toBeGreaterThanOrEqual(gainOfLooking(lead, less, noise) - slack);
        expect(gainOfLooking(lead, more, less)).toBeGreaterThanOrEqual(gainOfLooking(2 * lead, more, less) - slack);
      }),
    );
  });
});

describe("Looks", () => {
  const plain: Way = { limits: { numLookaheadNodes: 0, maxDraftDepth: 0 }, tokenMs: 10, stepMs: 10 };
  const tree = (numNodes: number, tokenMs: number): Way => ({
    ...{ limits: { numLookaheadNodes: numNodes - 1, maxDraftDepth: 1 }, tokenMs, stepMs: 2 * tokenMs },
  });
  const numSteps = 8;
  /** Of a look at any way, from any other. */
  const SWITCH_MS = 20;
  const size = { numSteps, switchMs: () => SWITCH_MS, catchUpMs: 0 };
  const doubtOf = (variance: number) => () => ({ variance, noise: 0.005 });

  test("what may be better is looked at, what is known is not, nor what is far worse", () => {
    expect(new Looks().next(0, { inUse: plain, others: [tree(2, 10.5)], ...size, doubt: doubtOf(0.04) })?.tokenMs).toBe(
      10.5,
    );
    expect(
      new Looks().next(0, { inUse: plain, others: [tree(2, 10.5)], ...size, doubt: doubtOf(1e-6) }),
    ).toBeUndefined();
    expect(new Looks().next(0, { inUse: plain, others: [tree(2, 40)], ...size, doubt: doubtOf(0.04) })).toBeUndefined();
    expect(
      new Looks().next(0, {
        inUse: plain,
        others: [tree(8, 14), tree(2, 10.5)],
        ...size,
        doubt: doubtOf(0.04),
      })?.tokenMs,
    ).toBe(10.5);
  });

  test("less may be lost to first looks at a load where another one had its own", () => {
    const [dear, cheap] = [tree(8, 14), tree(2, 10.5)];
    const choice = { inUse: plain, ...size, doubt: doubtOf(0.04) };
    expect(new Looks().next(0, { ...choice, others: [dear] })).toBe(dear);
    const looks = new Looks();
    looks.next(0, { ...choice, others: [dear] });
    expect(looks.next(1, { ...choice, others: [dear] })).toBeUndefined();
    expect(looks.next(1, { ...choice, others: [cheap] })).toBe(cheap);
  });

  test("the other kind and the largest trees are looked at now and then whatever is known, for a share of the time", () => {
    const [best, largest] = [tree(4, 5), tree(8, 6)];
    for (const [inUse, others, expected] of [
      [plain, [tree(8, 30), tree(2, 15)], [15]],
      [best, [largest, plain], [10, 6]],
    ] as const) {
      const looks = new Looks();
      const seen: number[] = [];
      let lostMs = 0;
      const duration = 40_000;
      for (let step = 0; step < duration; step++) {
        looks.add(3, inUse.stepMs);
        const way = looks.next(3, { inUse, others, ...size, doubt: doubtOf(0) });
        if (way === undefined) continue;
        seen.push(way.tokenMs);
        lostMs += numSteps * way.stepMs * (1 - inUse.tokenMs / way.tokenMs) + SWITCH_MS;
      }
      expect(seen.length).toBeGreaterThan(5);
      expect(seen).toEqual(seen.map((_, i) => expected[i % expected.length]));
      expect(lostMs / (duration * inUse.stepMs)).toBeLessThan(0.006);
    }
  });

  test("what drafters have to catch up with counts while plain decoding is in use, and no share of the time is lost to it", () => {
    const choice = { ...size, doubt: doubtOf(0.04) };
    const lost = (catchUpMs: number, inUse: Way, other: Way) => {
      const looks = new Looks();
      let numLooks = 0;
      for (let step = 0; step < 40_000; step++) {
        looks.add(0, inUse.stepMs);
        if (looks.next(0, { ...choice, catchUpMs, inUse, others: [other] })) numLooks++;
      }
      return (numLooks * catchUpMs) / (40_000 * inUse.stepMs);
    };
    expect(lost(500, plain, tree(2, 10.5))).toBeLessThan(0.008);
    expect(lost(500, plain, tree(2, 10.5))).toBeGreaterThan(0);
    // Drafters that are in use have nothing to catch up with.
    expect(lost(500, tree(2, 10), plain)).toBeCloseTo(500 * lost(1, tree(2, 10), plain), 9);
  });

  test("loads have looks of their own", () => {
    const looks = new Looks();
    let first = 0;
    while (looks.next(0, { inUse: plain, others: [tree(2, 10.5)], ...size, doubt: doubtOf(0.04) })) first++;
    expect(first).toBeGreaterThan(0);
    expect(looks.next(1, { inUse: plain, others: [tree(2, 10.5)], ...size, doubt: doubtOf(0.04) })).toBeDefined();
  });
});
