import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkDraftTree, type DraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import { firstNodes, fitShape, regularShape, type TreeShape } from "../../../engine/speculative/tree-shape.ts";
import { uniteTrees } from "../../../engine/speculative/union.ts";
import { treeFrom } from "./trees.ts";

const ROOT = 7;
const wishes = fc.array(fc.tuple(fc.nat(40), fc.nat(3)), { maxLength: 12 });
const trees = fc.array(
  fc
    .tuple(
      wishes,
      fc.array(
        fc.integer({ min: 0, max: 4 }).map((n) => n / 4),
        { minLength: 13, maxLength: 13 },
      ),
    )
    .map(([some, probs]): DraftTree => {
      const tree = treeFrom(ROOT, some);
      return { ...tree, probs: tree.tokenIds.map((_, node) => (node === 0 ? 1 : (probs[node] ?? 0))) };
    }),
  { minLength: 1, maxLength: 3 },
);

/** Every path of a tree, root left out, with what belongs to its last node. */
function paths<T>(tree: DraftTree, pick: (node: number) => T): Map<string, T> {
  const nodes = [...tree.tokenIds.keys()].slice(1);
  return new Map(
    nodes.map((node) => [
      pathOf(tree, node)
        .map((at) => tree.tokenIds[at])
        .join(),
      pick(node),
    ]),
  );
}

/** The path of a path's parent, "" for the root's. */
const parentOf = (path: string) => path.split(",").slice(0, -1).join();

/** Path by path: the highest probability, and who proposed it. */
function naiveUnion(all: readonly DraftTree[]) {
  const united = new Map<string, { prob: number; proposers: string[] }>();
  for (const [i, tree] of all.entries()) {
    for (const [path, prob] of paths(tree, (node) => tree.probs[node] ?? 0)) {
      const { prob: other = 0, proposers = [] } = united.get(path) ?? {};
      united.set(path, { prob: Math.max(prob, other), proposers: [...proposers, `p${i}`] });
    }
  }
  const survival = (path: string): number =>
    path === "" ? 1 : (united.get(path)?.prob ?? 0) * survival(parentOf(path));
  return new Map([...united].map(([path, { proposers }]) => [path, { survival: survival(path), proposers }]));
}

/** The shape's node of every path of a tree that fits, the root's being "". */
function placesIn({ parents, ranks }: TreeShape, tree: DraftTree): Map<string, number> {
  const places = new Map([["", 0]]);
  const numChildren = new Map<string, number>();
  for (const path of paths(tree, () => true).keys()) {
    const parent = parentOf(path);
    const rank = numChildren.get(parent) ?? 0;
    numChildren.set(parent, rank + 1);
    places.set(
      path,
      parents.findIndex((above, node) => above === places.get(parent) && ranks[node] === rank),
    );
  }
  return places;
}

const named = (all: readonly DraftTree[]) => all.map((tree, i) => ({ name: `p${i}`, tree }));

describe("uniteTrees", () => {
  test("is the best of all paths, each once, credited to all who proposed it", () => {
    let numShared = 0;
    let numCut = 0;
    fc.assert(
      fc.property(trees, fc.integer({ min: 1, max: 20 }), (all, maxNodes) => {
        const tree = uniteTrees(ROOT, named(all), maxNodes);
        checkDraftTree(tree);
        const expected = naiveUnion(all);
        const got = paths(tree, (node) => ({
          survival: pathOf(tree, node).reduce((product, at) => product * (tree.probs[at] ?? 0), 1),
          proposers: tree.proposers?.[node],
        }));
        expect(got.size).toBe(Math.min(maxNodes - 1, expected.size));
        for (const [path, node] of got) expect(node).toEqual(expected.get(path));
        const best = [...expected.values()].map(({ survival }) => survival).sort((a, b) => b - a);
        expect([...got.values()].map(({ survival }) => survival)).toEqual(best.slice(0, got.size));
        if ([...got.values()].some(({ proposers = [] }) => proposers.length > 1)) numShared++;
        if (got.size < expected.size) numCut++;
      }),
      { numRuns: 400 },
    );
    expect(Math.min(numShared, numCut)).toBeGreaterThan(40);
  });

  test("of a shape, has all of its places that the union can fill, by the best of each node's children", () => {
    let numLeftOut = 0;
    const branchings = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(trees, branchings, fc.integer({ min: 2, max: 20 }), (all, branching, maxNodes) => {
        const shape = firstNodes(regularShape(branching), maxNodes);
        const tree = uniteTrees(ROOT, named(all), maxNodes, regularShape(branching));
        checkDraftTree(tree);
        expect(fitShape(tree, shape).size).toBe(tree.tokenIds.length);
        const whole = naiveUnion(all);
        const had = ["", ...paths(tree, () => true).keys()];
        const survivalsBelow = (parent: string, isHad: boolean) =>
          [...whole]
            .filter(([path]) => parentOf(path) === parent && had.includes(path) === isHad)
            .map(([, { survival }]) => survival);
        const places = placesIn(shape, tree);
        for (const parent of had) {
          const [kept, leftOut] = [survivalsBelow(parent, true), survivalsBelow(parent, false)];
          const room = shape.parents.filter((above) => above === places.get(parent)).length;
          expect(kept).toHaveLength(Math.min(room, kept.length + leftOut.length));
          expect(Math.max(0, ...leftOut)).toBeLessThanOrEqual(Math.min(1, ...kept));
          numLeftOut += leftOut.length;
        }
      }),
      { numRuns: 400 },
    );
    expect(numLeftOut).toBeGreaterThan(100);
  });

  test("one tree with room for all of it keeps its paths", () => {
    fc.assert(
      fc.property(trees, ([tree]) => {
        if (tree === undefined) return;
        const united = uniteTrees(ROOT, named([tree]), 20);
        expect(paths(united, (node) => united.probs[node])).toEqual(paths(tree, (node) => tree.probs[node]));
      }),
    );
  });
});
