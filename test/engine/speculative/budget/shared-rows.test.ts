import { describe, expect, test } from "vitest";
import { SharedRows } from "../../../../engine/speculative/budget/shared-rows.ts";
import { Random } from "../../../support/random.ts";

const [MAX_NODES, WINDOW] = [16, 256];

/** Of the nodes of a tree below its root, falling: of a sure chain, or of one that is doubtful from the start. */
function survivalsOf(random: Random): number[] {
  const sure = random.next() < 0.5 ? 0.9 : 0.4;
  const chain = Array.from({ length: 8 }, (_, i) => (sure * (0.8 + 0.2 * random.next())) ** (i + 1));
  const others = chain.slice(0, 7).map((survival) => (1 - sure) * survival);
  return [...chain, ...others].sort((a, b) => b - a);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** What so many trees gain a tree where the best nodes of all are verified. */
function trueGain(random: Random, numNodes: number, numTrees: number): number {
  const numGroups = 400;
  const gains = Array.from({ length: numGroups }, () => {
    const trees = Array.from({ length: numTrees }, () => survivalsOf(random));
    const best = trees.flat().sort((a, b) => b - a);
    const own = sum(trees.map((tree) => sum(tree.slice(0, numNodes - 1))));
    return sum(best.slice(0, numTrees * (numNodes - 1))) - own;
  });
  return sum(gains) / (numGroups * numTrees);
}

describe("what trees gain by sharing their rows", () => {
  const shared = new SharedRows(MAX_NODES, 2);
  const random = new Random(5);
  for (let i = 0; i < 1000; i++) shared.observe(1, survivalsOf(random), WINDOW);

  test.each([2, 3, 4, 6, 8])("%i nodes each: about what the best of all trees' nodes bring", (numNodes) => {
    const most = trueGain(random, numNodes, 64);
    expect(most).toBeGreaterThan(0.02);
    for (const numTrees of [2, 4, 8, 32, 64]) {
      const gain = shared.gain(numNodes, 1, numTrees);
      expect(Math.abs(gain - trueGain(random, numNodes, numTrees))).toBeLessThan(0.2 * most);
    }
  });

  test("is nothing for one tree, for trees as large as they may be, and where nothing was seen", () => {
    expect(shared.gain(4, 1, 1)).toBe(0);
    expect(shared.gain(MAX_NODES, 1, 32)).toBe(0);
    expect(shared.gain(4, 2, 32)).toBe(0);
  });

  test("trees that are all alike gain nothing", () => {
    const alike = new SharedRows(MAX_NODES, 1);
    for (let i = 0; i < 100; i++) alike.observe(1, [0.9, 0.5, 0.1], WINDOW);
    for (const numNodes of [2, 3, 4]) expect(alike.gain(numNodes, 1, 32)).toBeCloseTo(0, 9);
  });
});
