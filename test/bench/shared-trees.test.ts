import { expect, test } from "vitest";
import { SharedTrees } from "../../bench/shared-trees.ts";

test("trees with rows of their own, and trees that share them", () => {
  const trees = new SharedTrees();
  // A sure tree whose whole chain comes, and a doubtful one of which nothing does.
  const chain = { tokenIds: [0, 1, 2], parents: [-1, 0, 1], depths: [0, 1, 2] };
  const bounds = { maxNodes: 3, maxDepth: 2 };
  trees.observe({ tree: { ...chain, probs: [1, 0.9, 0.9] }, tokenIds: [1, 2, 3], ...bounds });
  trees.observe({ tree: { ...chain, probs: [1, 0.1, 0.1] }, tokenIds: [9], ...bounds });
  const { own, shared } = trees.figures(2, 2, 64);
  // Half of the trees are sure: alone they have one row below the root, together both.
  expect(own).toBeGreaterThan(1.3);
  expect(own).toBeLessThan(1.7);
  expect(shared / own).toBeGreaterThan(1.2);
  expect(trees.figures(3, 2, 64)).toEqual(expect.objectContaining({ own: trees.figures(3, 2, 64).shared }));
  expect(trees.figures(2, 1, 64).shared).toBeCloseTo(trees.figures(2, 1, 64).own, 9);
});
