import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keepNodes } from "../../../engine/speculative/budget/cut-trees.ts";
import { checkDraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import {
  fitShape,
  regularShape,
  StaticTreeBuilder,
  shapeChildren,
  shapeWidth,
} from "../../../engine/speculative/tree-shape.ts";
import { hash } from "./toy-model.ts";
import { draftTrees } from "./trees.ts";

const branchings = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 });

/** Grows a tree from a draft that gives each prefix `numCandidates` tokens, best first. */
function grow(builder: StaticTreeBuilder, numCandidates: number) {
  while (!builder.done) {
    const expanded = builder.expanded();
    const prefixOf = (id: number): number[] => {
      const node = expanded[id];
      return node === undefined || node.parent < 0 ? [] : [...prefixOf(node.parent), node.tokenId];
    };
    builder.expand(
      builder.frontier().map(({ id }) =>
        Array.from({ length: numCandidates }, (_, rank) => ({
          tokenId: 10 * (hash(0, ...prefixOf(id)) % 50) + rank,
          logSurvival: -0.5 - rank,
        })),
      ),
    );
  }
  return builder.build();
}

describe("StaticTreeBuilder", () => {
  test("gives every node of the shape its parent's candidate of its rank", () => {
    fc.assert(
      fc.property(branchings, (branching) => {
        const shape = regularShape(branching);
        const limits = { rootTokenId: 3, maxNodes: shape.parents.length, maxDepth: branching.length };
        const tree = grow(new StaticTreeBuilder(shape, limits), 3);
        checkDraftTree(tree);
        expect(tree.parents).toEqual(shape.parents);
        expect(tree.depths).toEqual(shape.depths);
        for (const [node, rank] of shape.ranks.entries()) {
          if (node === 0) continue;
          const prefix = pathOf(tree, shape.parents[node] ?? 0).map((at) => tree.tokenIds[at] ?? 0);
          expect(tree.tokenIds[node]).toBe(10 * (hash(0, ...prefix) % 50) + rank);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("limits and missing candidates leave out nodes, and what is below them", () => {
    fc.assert(
      fc.property(branchings, fc.nat(30), fc.nat(4), fc.nat(3), (branching, most, maxDepth, numCandidates) => {
        const maxNodes = most + 1;
        const tree = grow(
          new StaticTreeBuilder(regularShape(branching), { rootTokenId: 3, maxNodes, maxDepth }),
          numCandidates,
        );
        checkDraftTree(tree);
        expect(tree.tokenIds.length).toBeLessThanOrEqual(maxNodes);
        expect(Math.max(...tree.depths)).toBeLessThanOrEqual(maxDepth);
        const numChildren = tree.parents.map((_, node) => tree.parents.filter((parent) => parent === node).length);
        expect(Math.max(...numChildren)).toBeLessThanOrEqual(numCandidates);
      }),
      { numRuns: 100 },
    );
  });
});

describe("fitShape", () => {
  test("keeps the nodes whose path the shape has, and a tree of the shape whole", () => {
    fc.assert(
      fc.property(draftTrees(4, 12), branchings, (tree, branching) => {
        const kept = fitShape(tree, regularShape(branching));
        const fitted = keepNodes(tree, kept);
        checkDraftTree(fitted);
        for (const [node, depth] of tree.depths.entries()) {
          const ranks = pathOf(tree, node).map(
            (at) => tree.parents.slice(0, at).filter((p) => p === tree.parents[at]).length,
          );
          const fits = depth <= branching.length && ranks.every((rank, d) => rank < (branching[d] ?? 0));
          expect(kept.has(node)).toBe(fits);
        }
        expect(fitShape(fitted, regularShape(branching)).size).toBe(fitted.tokenIds.length);
      }),
      { numRuns: 150 },
    );
  });
});

describe("what kernels are told of a shape", () => {
  test("the children of its nodes by rank, and how many nodes of a level have some", () => {
    const regular = regularShape([2, 3, 1]);
    expect(shapeWidth(regular)).toBe(6);
    expect([...shapeChildren(regularShape([2, 1]), 6, 3)]).toEqual([
      ...[1, 2, 0, 3, 0, 0, 4, 0, 0],
      ...[0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]);
    expect(shapeWidth(regularShape([5]))).toBe(0);
    // Of three nodes below the root, one has children.
    expect(shapeWidth({ parents: [-1, 0, 0, 0, 2, 2], ranks: [0, 0, 1, 2, 0, 1], depths: [0, 1, 1, 1, 2, 2] })).toBe(1);
  });

  test("not one that has more nodes or children than there is room for", () => {
    expect(() => shapeChildren(regularShape([2, 2]), 6, 2)).toThrow(/7 nodes does not fit 6 nodes with 2 children/);
    expect(() => shapeChildren(regularShape([3]), 8, 2)).toThrow(RangeError);
  });
});
