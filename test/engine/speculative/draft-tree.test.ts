import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkDraftTree,
  childOf,
  type DraftTree,
  pathOf,
  rootOnly,
  siblingRanks,
} from "../../../engine/speculative/draft-tree.ts";
import { scanForChild } from "./toy-model.ts";
import { draftTrees } from "./trees.ts";

/** root 7 ─ 1 ─ 2, root 7 ─ 2 ─ 2: the same token at two depths and in two branches. */
const TREE: DraftTree = {
  tokenIds: [7, 1, 2, 2, 2],
  parents: [-1, 0, 0, 1, 2],
  probs: [1, 0.5, 0.5, 0.25, 0],
  depths: [0, 1, 1, 2, 2],
};

describe("checkDraftTree", () => {
  test("accepts trees", () => {
    checkDraftTree(TREE);
    checkDraftTree(rootOnly(3));
    fc.assert(fc.property(draftTrees(4, 20), (tree) => checkDraftTree(tree)));
  });

  test.each<[string, Partial<DraftTree>, RegExp]>([
    ["no node", { tokenIds: [], parents: [], probs: [], depths: [] }, /no root/],
    ["arrays of different lengths", { probs: [1] }, /arrays of 5,5,1,5/],
    ["a root with a parent", { parents: [0, 0, 0, 1, 2] }, /root/],
    ["a root that is deep", { depths: [1, 1, 1, 2, 2] }, /root/],
    ["a root in doubt", { probs: [0.9, 0.5, 0.5, 0.25, 0] }, /root/],
    ["a second root", { parents: [-1, 0, -1, 1, 2] }, /node 2 has parent -1/],
    ["a parent after its child", { parents: [-1, 0, 4, 1, 2] }, /node 2 has parent 4/],
    ["a node that is its own parent", { parents: [-1, 0, 0, 3, 2] }, /node 3 has parent 3/],
    ["a wrong depth", { depths: [0, 1, 1, 1, 2] }, /node 3 has depth 1/],
    ["equal siblings", { tokenIds: [7, 2, 2, 2, 2] }, /node 0 has two children with token 2/],
    ["a negative token", { tokenIds: [7, 1, -2, 2, 2] }, /node 2 has token -2/],
    ["a probability above 1", { probs: [1, 1.5, 0.5, 0.25, 0] }, /node 1 has probability 1.5/],
    ["a probability that is no number", { probs: [1, 0.5, 0.5, NaN, 0] }, /node 3 has probability NaN/],
  ])("refuses %s", (_, damage, message) => {
    expect(() => checkDraftTree({ ...TREE, ...damage })).toThrow(message);
  });
});

describe("childOf", () => {
  test("tells apart the same token in two branches", () => {
    const child = childOf(TREE);
    expect([child(0, 2), child(1, 2), child(2, 2), child(3, 2), child(0, 7)]).toEqual([2, 3, 4, undefined, undefined]);
  });

  test("finds what a scan over all nodes finds", () => {
    fc.assert(
      fc.property(draftTrees(3, 16), (tree) => {
        const [child, scan] = [childOf(tree), scanForChild(tree)];
        for (const node of tree.tokenIds.keys()) {
          for (const token of [0, 1, 2, 3]) expect(child(node, token)).toBe(scan(node, token));
        }
      }),
    );
  });
});

describe("pathOf", () => {
  test("goes from the root's child down to the node", () => {
    expect([0, 1, 2, 3, 4].map((node) => pathOf(TREE, node))).toEqual([[], [1], [2], [1, 3], [2, 4]]);
  });

  test("has as many nodes as the node is deep, each the parent of the next", () => {
    fc.assert(
      fc.property(draftTrees(4, 20), (tree) => {
        for (const [node, depth] of tree.depths.entries()) {
          const path = pathOf(tree, node);
          expect(path).toHaveLength(depth);
          expect(path.map((at) => tree.parents[at])).toEqual([0, ...path].slice(0, depth));
        }
      }),
    );
  });
});

test("siblings' ranks are how many of a node's siblings come before it", () => {
  fc.assert(
    fc.property(draftTrees(3, 12), ({ parents }) => {
      const before = (node: number) => parents.slice(0, node).filter((parent) => parent === parents[node]);
      expect(siblingRanks({ parents })).toEqual(parents.map((_, node) => before(node).length));
    }),
  );
});
