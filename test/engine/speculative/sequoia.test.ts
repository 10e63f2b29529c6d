import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SiblingAcceptance } from "../../../engine/speculative/budget/sibling-acceptance.ts";
import { judged } from "../../../engine/speculative/budget/verified-draft.ts";
import { bestShape, expectedAccepted, fastestShape, type SiblingRates } from "../../../engine/speculative/sequoia.ts";
import type { TreeShape } from "../../../engine/speculative/tree-shape.ts";

const rates = fc.array(
  fc
    .array(fc.integer({ min: 0, max: 9 }), { minLength: 3, maxLength: 3 })
    .map((weights) => weights.map((weight) => weight / 30)),
  { minLength: 1, maxLength: 3 },
);

/** Every shape of at most so many nodes: a node may be added as the next choice of any node. */
function allShapes(maxNodes: number, maxDepth: number, topK: number): TreeShape[] {
  const shapes: TreeShape[] = [];
  const grow = (shape: TreeShape, from: number) => {
    shapes.push(shape);
    if (shape.parents.length === maxNodes) return;
    // Parents never go back, so that each shape comes up once.
    for (let parent = from; parent < shape.parents.length; parent++) {
      const depth = (shape.depths[parent] ?? 0) + 1;
      const rank = shape.parents.filter((one) => one === parent).length;
      if (depth > maxDepth || rank >= topK) continue;
      grow(
        { parents: [...shape.parents, parent], ranks: [...shape.ranks, rank], depths: [...shape.depths, depth] },
        parent,
      );
    }
  };
  grow({ parents: [-1], ranks: [0], depths: [0] }, 0);
  return shapes;
}

const ALL = allShapes(7, 3, 3);

function checkShape({ parents, ranks, depths }: TreeShape): void {
  for (const [node, parent] of parents.entries()) {
    if (node === 0) continue;
    expect(parent).toBeLessThan(node);
    expect(depths[node]).toBe((depths[parent] ?? 0) + 1);
    expect(ranks[node]).toBe(parents.slice(0, node).filter((one) => one === parent).length);
  }
}

describe("Sequoia's trees", () => {
  test("no other shape of that size and depth is accepted further", () => {
    expect(ALL.length).toBeGreaterThan(100);
    fc.assert(
      fc.property(rates, fc.integer({ min: 1, max: 7 }), fc.integer({ min: 0, max: 3 }), (some, maxNodes, maxDepth) => {
        const shape = bestShape(some, maxNodes, maxDepth);
        checkShape(shape);
        expect(shape.parents.length).toBeLessThanOrEqual(maxNodes);
        expect(Math.max(...shape.depths)).toBeLessThanOrEqual(maxDepth);
        const possible = ALL.filter(
          ({ parents, depths }) => parents.length <= maxNodes && Math.max(...depths) <= maxDepth,
        );
        const best = Math.max(...possible.map((one) => expectedAccepted(one, some)));
        expect(expectedAccepted(shape, some)).toBeCloseTo(best, 12);
      }),
      { numRuns: 150 },
    );
  });

  test("by costs, no other shape is faster; where nothing pays, the root alone", () => {
    const limits = { maxNodes: 7, maxDepth: 3 };
    let numPlain = 0;
    fc.assert(
      fc.property(rates, fc.nat(20), fc.nat(20), (some, rowCost, levelCost) => {
        const stepMs = (numNodes: number, depth: number) => 10 + rowCost * 0.2 * numNodes + levelCost * 0.2 * depth;
        const rateOf = (shape: TreeShape) =>
          (1 + expectedAccepted(shape, some)) / stepMs(shape.parents.length, Math.max(...shape.depths));
        const shape = fastestShape(some, limits, stepMs);
        expect(rateOf(shape)).toBeCloseTo(Math.max(...ALL.map(rateOf)), 9);
        if (shape.parents.length === 1) numPlain++;
      }),
      { numRuns: 60 },
    );
    expect(numPlain).toBeGreaterThan(0);
  });
});

test("live acceptance is counted by depth and rank, where the parent was reached", () => {
  const acceptance = new SiblingAcceptance();
  // Root with choices 5 and 6; 5 has choices 7 and 8.
  const tree = {
    ...{ tokenIds: [0, 5, 6, 7, 8], parents: [-1, 0, 0, 1, 1], depths: [0, 1, 1, 2, 2] },
    probs: [1, 0.5, 0.5, 0.5, 0.5],
  };
  for (const tokenIds of [[5, 8, 1], [6, 1], [9], [5, 8, 1]]) {
    acceptance.observe(judged({ tree, tokenIds, maxNodes: 5, maxDepth: 2 }));
  }
  const expected: SiblingRates = [
    [0.5, 0.25],
    [0, 1],
  ];
  expect(acceptance.rates).toEqual(expected);
});
