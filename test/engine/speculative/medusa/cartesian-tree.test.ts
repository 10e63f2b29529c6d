import fc from "fast-check";
import { expect, test } from "vitest";
import { checkDraftTree, pathOf } from "../../../../engine/speculative/draft-tree.ts";
import { cartesianTree, shapedTree } from "../../../../engine/speculative/medusa/cartesian-tree.ts";
import type { Candidate } from "../../../../engine/speculative/tree-builder.ts";
import { regularShape } from "../../../../engine/speculative/tree-shape.ts";

/** Up to four heads of up to four distinct candidates, best first, some of them equal, impossible or above 1. */
const heads = fc.array(
  fc
    .array(fc.constantFrom(0.5, 0, -0.5, -1, -1, -3, -Infinity), { maxLength: 4 })
    .map((logs): Candidate[] => logs.sort((a, b) => b - a).map((logSurvival, i) => ({ tokenId: 3 + i, logSurvival }))),
  { maxLength: 4 },
);
const limits = fc.record({ maxNodes: fc.integer({ min: 1, max: 20 }), maxDepth: fc.integer({ min: 0, max: 5 }) });

/** Scores of every path through the heads down to `maxDepth`, best first. */
function allScores(candidates: readonly (readonly Candidate[])[], maxDepth: number): number[] {
  const below = (depth: number, score: number): number[] =>
    depth > Math.min(maxDepth, candidates.length)
      ? []
      : (candidates[depth - 1] ?? [])
          .filter(({ logSurvival }) => logSurvival > -Infinity)
          .flatMap(({ logSurvival }) => {
            const next = score + Math.min(0, logSurvival);
            return [next, ...below(depth + 1, next)];
          });
  return below(1, 0).sort((a, b) => b - a);
}

test("the tree holds the likeliest nodes of the Cartesian product, and as many as there are", () => {
  fc.assert(
    fc.property(heads, limits, (candidates, { maxNodes, maxDepth }) => {
      const tree = cartesianTree(9, candidates, { maxNodes, maxDepth });
      checkDraftTree(tree);
      expect(tree.tokenIds[0]).toBe(9);
      const scores = tree.tokenIds
        .map((_, node) => pathOf(tree, node).reduce((sum, at) => sum + Math.log(tree.probs[at] ?? 0), 0))
        .slice(1)
        .sort((a, b) => b - a);
      const expected = allScores(candidates, maxDepth).slice(0, maxNodes - 1);
      expect(scores.length).toBe(expected.length);
      for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(expected[i] ?? 0, 9);
    }),
  );
});

test("a node's children are its depth's candidates, best first", () => {
  const one = (tokenId: number, prob: number): Candidate => ({ tokenId, logSurvival: Math.log(prob) });
  const candidates = [[one(1, 0.6), one(2, 0.35)], [one(7, 0.5)]];
  expect(cartesianTree(0, candidates, { maxNodes: 4, maxDepth: 2 })).toEqual({
    tokenIds: [0, 1, 2, 7],
    parents: [-1, 0, 0, 1],
    probs: [1, 0.6, 0.35, 0.5].map((prob) => expect.closeTo(prob, 12)),
    depths: [0, 1, 1, 2],
  });
});

test("of a given shape: every node of a depth has the same children, as far as there are candidates", () => {
  const one = (tokenId: number, prob: number): Candidate => ({ tokenId, logSurvival: Math.log(prob) });
  const candidates = [[one(1, 0.6), one(2, 0.35)], [one(7, 0.5)]];
  const limits = { maxNodes: 20, maxDepth: 4 };
  expect(shapedTree(0, candidates, regularShape([2, 2, 1]), limits)).toEqual({
    tokenIds: [0, 1, 2, 7, 7],
    parents: [-1, 0, 0, 1, 2],
    probs: [1, 0.6, 0.35, 0.5, 0.5].map((prob) => expect.closeTo(prob, 12)),
    depths: [0, 1, 1, 2, 2],
  });
});
