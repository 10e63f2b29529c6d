import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fastestWay, type Way } from "../../../../engine/speculative/budget/ways.ts";
import { isPlain } from "../../../../scheduler/output.ts";

const way = (numLookaheadNodes: number, tokenMs: number): Way => ({
  ...{ limits: { numLookaheadNodes, maxDraftDepth: Math.min(1, numLookaheadNodes) }, tokenMs, stepMs: 2 * tokenMs },
});
const positive = fc.double({ min: 0.1, max: 100, noNaN: true });

describe("fastestWay", () => {
  test("is the fastest where none was before, and where a change costs nothing never one that is more than a hundredth slower", () => {
    fc.assert(
      fc.property(fc.array(positive, { minLength: 1, maxLength: 20 }), fc.nat(), (times, at) => {
        const ways = times.map((ms, i) => way(i, ms));
        const best = Math.min(...times);
        expect(fastestWay(ways, undefined, () => 0).tokenMs).toBe(best);
        const before = ways[at % ways.length];
        expect(fastestWay(ways, before, () => 0).tokenMs).toBeLessThan(1.010001 * best);
      }),
    );
  });

  test("a change has to bring in what it costs within two seconds", () => {
    const [plain, trees] = [way(0, 10.5), way(1, 10)];
    expect(fastestWay([plain, trees], plain, () => 0)).toBe(trees);
    expect(fastestWay([plain, trees], plain, () => 70)).toBe(trees);
    expect(fastestWay([plain, trees], plain, () => 90)).toBe(plain);
    expect([isPlain(plain.limits), isPlain(trees.limits)]).toEqual([true, false]);
  });
});
