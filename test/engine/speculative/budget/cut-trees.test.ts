import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cutTrees, keepNodes } from "../../../../engine/speculative/budget/cut-trees.ts";
import { checkDraftTree, type DraftTree, survivals } from "../../../../engine/speculative/draft-tree.ts";
import { treeFrom } from "../trees.ts";

const trees = fc.array(
  fc
    .tuple(
      fc.array(fc.tuple(fc.nat(20), fc.nat(3)), { maxLength: 4 }),
      fc.array(
        fc.integer({ min: 0, max: 8 }).map((n) => n / 8),
        { minLength: 5, maxLength: 5 },
      ),
    )
    .map(([wishes, probs]): DraftTree => {
      const tree = treeFrom(7, wishes);
      return { ...tree, probs: tree.tokenIds.map((_, node) => (node === 0 ? 1 : (probs[node] ?? 0))) };
    }),
  { minLength: 1, maxLength: 3 },
);
/** Costs that never fall with the number of nodes: steps of any height, as of row tiles. */
const costs = fc
  .array(fc.nat(6), { minLength: 13, maxLength: 13 })
  .map((steps) => steps.map((_, i) => 10 + steps.slice(0, i).reduce((sum, step) => sum + step, 0)));

/** Every choice of nodes that is closed under ancestors, over all trees. */
function bestGain(all: readonly DraftTree[], gainOf: (survival: number, numNodes: number) => number): number {
  const nodes = all.flatMap((tree, t) => tree.tokenIds.slice(1).map((_, i) => ({ tree, t, node: i + 1 })));
  let best = 0;
  for (let choice = 0; choice < 2 ** nodes.length; choice++) {
    const chosen = nodes.filter((_, i) => (choice >> i) & 1);
    const isClosed = chosen.every(({ tree, t, node }) => {
      const parent = tree.parents[node] ?? 0;
      return parent === 0 || chosen.some((other) => other.t === t && other.node === parent);
    });
    if (!isClosed) continue;
    const sum = chosen.reduce((total, { tree, node }) => total + (survivals(tree)[node] ?? 0), 0);
    best = Math.max(best, gainOf(sum, chosen.length));
  }
  return best;
}

describe("cutTrees", () => {
  test("keeps what brings the most over its cost: no other choice brings more", () => {
    let [numEmpty, numPart] = [0, 0];
    fc.assert(
      fc.property(trees, costs, fc.integer({ min: 0, max: 20 }), (all, ms, rate) => {
        const verifyMs = (numNodes: number) => ms[numNodes] ?? Number.POSITIVE_INFINITY;
        const tokensPerMs = rate / 40;
        const { kept, gain } = cutTrees(all, verifyMs, tokensPerMs);
        const cut = all.map((tree, i) => keepNodes(tree, kept[i] ?? new Set()));
        for (const tree of cut) checkDraftTree(tree);
        const sum = cut.flatMap((tree) => survivals(tree).slice(1)).reduce((total, one) => total + one, 0);
        const numNodes = cut.reduce((total, { tokenIds }) => total + tokenIds.length - 1, 0);
        const gainOf = (tokens: number, count: number) => tokens - tokensPerMs * (verifyMs(count) - verifyMs(0));
        expect(gainOf(sum, numNodes)).toBeCloseTo(gain, 12);
        expect(gain).toBeCloseTo(bestGain(all, gainOf), 12);
        const numAll = all.reduce((total, { tokenIds }) => total + tokenIds.length - 1, 0);
        if (numNodes === 0) numEmpty++;
        else if (numNodes < numAll) numPart++;
      }),
      { numRuns: 150 },
    );
    expect(Math.min(numEmpty, numPart)).toBeGreaterThan(15);
  });

  test("a sure node of one sequence goes before a doubtful one of another", () => {
    const chain = (probs: readonly number[]): DraftTree => ({
      tokenIds: probs.map((_, i) => i),
      parents: probs.map((_, i) => i - 1),
      depths: probs.map((_, i) => i),
      probs,
    });
    const { kept } = cutTrees([chain([1, 0.4, 0.9]), chain([1, 0.9, 0.9, 0.9])], (numNodes) => numNodes, 0.5);
    expect(kept).toEqual([new Set([0]), new Set([0, 1, 2, 3])]);
  });
});
