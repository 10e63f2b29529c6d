import fc from "fast-check";
import { expect, test } from "vitest";
import { checkDraftTree, pathOf } from "../../../../engine/speculative/draft-tree.ts";
import { type ChildrenOf, likeliestTree, shapedTree } from "../../../../engine/speculative/medusa/likeliest-tree.ts";
import { regularShape } from "../../../../engine/speculative/tree-shape.ts";

/**
 * Up to four heads of up to four distinct candidates; below each candidate of the one before, or the root, scores of their own, some of
 * them equal, impossible or above 1.
 */
const paths = fc
  .array(
    fc.integer({ min: 0, max: 4 }).chain((numCandidates) =>
      fc.array(
        fc.array(fc.constantFrom(0.5, 0, -0.5, -1, -1, -3, -Infinity), {
          minLength: numCandidates,
          maxLength: numCandidates,
        }),
        { minLength: 4, maxLength: 4 },
      ),
    ),
    { maxLength: 4 },
  )
  .map((heads): ChildrenOf => {
    return (depth, rank) =>
      (heads[depth]?.[rank] ?? [])
        .map((logSurvival, own) => ({ tokenId: 3 + own, logSurvival, rank: own }))
        .sort((a, b) => b.logSurvival - a.logSurvival);
  });
const limits = fc.record({ maxNodes: fc.integer({ min: 1, max: 20 }), maxDepth: fc.integer({ min: 0, max: 5 }) });

/** Scores of every path down to `maxDepth`, best first. */
function allScores(children: ChildrenOf, maxDepth: number): number[] {
  const below = (depth: number, rank: number, score: number): number[] =>
    depth >= maxDepth
      ? []
      : children(depth, rank)
          .filter(({ logSurvival }) => logSurvival > -Infinity)
          .flatMap((child) => {
            const next = score + Math.min(0, child.logSurvival);
            return [next, ...below(depth + 1, child.rank, next)];
          });
  return below(0, 0, 0).sort((a, b) => b - a);
}

test("the tree holds the likeliest paths, and as many nodes as there are", () => {
  fc.assert(
    fc.property(paths, limits, (children, { maxNodes, maxDepth }) => {
      const tree = likeliestTree(9, children, { maxNodes, maxDepth });
      checkDraftTree(tree);
      expect(tree.tokenIds[0]).toBe(9);
      const scores = tree.tokenIds
        .map((_, node) => pathOf(tree, node).reduce((sum, at) => sum + Math.log(tree.probs[at] ?? 0), 0))
        .slice(1)
        .sort((a, b) => b - a);
      const expected = allScores(children, maxDepth).slice(0, maxNodes - 1);
      expect(scores.length).toBe(expected.length);
      for (const [i, score] of scores.entries()) expect(score).toBeCloseTo(expected[i] ?? 0, 9);
    }),
  );
});

const child = (tokenId: number, prob: number, rank: number) => ({ tokenId, logSurvival: Math.log(prob), rank });
/** Token 1 goes with 7, token 2 with 8. */
const together: ChildrenOf = (depth, rank) => {
  if (depth === 0) return [child(1, 0.6, 0), child(2, 0.35, 1)];
  if (depth > 1) return [];
  return rank === 0 ? [child(7, 0.5, 1), child(8, 0.1, 0)] : [child(8, 0.9, 0), child(7, 0.02, 1)];
};

test("a node's children are those below it, best first", () => {
  expect(likeliestTree(0, together, { maxNodes: 5, maxDepth: 2 })).toEqual({
    tokenIds: [0, 1, 2, 8, 7],
    parents: [-1, 0, 0, 2, 1],
    probs: [1, 0.6, 0.35, 0.9, 0.5].map((prob) => expect.closeTo(prob, 12)),
    depths: [0, 1, 1, 2, 2],
  });
});

test("of a given shape: every node has its own best children, as far as there are any", () => {
  expect(shapedTree(0, together, regularShape([3, 1, 1]), { maxNodes: 20, maxDepth: 4 })).toEqual({
    tokenIds: [0, 1, 2, 7, 8],
    parents: [-1, 0, 0, 1, 2],
    probs: [1, 0.6, 0.35, 0.5, 0.9].map((prob) => expect.closeTo(prob, 12)),
    depths: [0, 1, 1, 2, 2],
  });
});
