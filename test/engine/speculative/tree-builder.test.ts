import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkDraftTree, type DraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import {
  type Candidate,
  DynamicTreeBuilder,
  type TreeBuilderOptions,
} from "../../../engine/speculative/tree-builder.ts";
import { hash } from "./toy-model.ts";

const ROOT = 9;
type Drafter = (path: readonly number[]) => readonly Candidate[];

/** Candidates by path, with much that is awkward: equal scores, repeated tokens, values above 0, −∞ and NaN. */
function awkward(seed: number): Drafter {
  const values = [0, -0.5, -0.5, -1, -1, -1, -2, 0.25, -Infinity, NaN];
  return (path) =>
    Array.from({ length: hash(seed, ...path) % 6 }, (_, i) => ({
      tokenId: hash(seed, ...path, i, 1) % 4,
      logSurvival: values[hash(seed, ...path, i, 2) % values.length] ?? 0,
    }));
}

const options = fc.record({
  rootTokenId: fc.constant(ROOT),
  maxNodes: fc.integer({ min: 1, max: 12 }),
  maxDepth: fc.integer({ min: 0, max: 4 }),
  topK: fc.integer({ min: 1, max: 4 }),
});

/** Grows a tree, and checks every frontier on the way. */
function grow(builderOptions: TreeBuilderOptions, drafter: Drafter): DraftTree {
  const builder = new DynamicTreeBuilder(builderOptions);
  for (let level = 0; !builder.done; level++) {
    const [expanded, frontier] = [builder.expanded(), builder.frontier()];
    expect(expanded.map(({ id }) => id)).toEqual([...expanded.keys()]);
    expect(expanded.slice(-frontier.length)).toEqual(frontier);
    expect(frontier.length).toBeLessThanOrEqual(level === 0 ? 1 : builderOptions.topK);
    expect(new Set(frontier.map(({ depth }) => depth))).toEqual(new Set([level]));
    const pathTo = (id: number): number[] => {
      const node = expanded[id];
      return node === undefined || node.parent < 0 ? [] : [...pathTo(node.parent), node.tokenId];
    };
    for (const { id } of frontier) expect(pathTo(id)).toHaveLength(level);
    builder.expand(frontier.map(({ id }) => drafter(pathTo(id))));
  }
  expect(builder.frontier()).toEqual([]);
  return builder.build();
}

interface PoolNode {
  readonly path: readonly number[];
  readonly score: number;
}

/** EAGLE-2 as written: every level expands its best topK of the pool, nothing is left out early. */
function wholePool({ maxDepth, topK }: TreeBuilderOptions, drafter: Drafter): PoolNode[] {
  const pool: PoolNode[] = [];
  let frontier: PoolNode[] = [{ path: [], score: 0 }];
  for (let depth = 1; depth <= maxDepth; depth++) {
    const level = frontier.flatMap(({ path, score }) => {
      const usable = drafter(path).filter(({ logSurvival }) => logSurvival > -Infinity);
      const first = usable.filter(({ tokenId }, i) => usable.findIndex((other) => other.tokenId === tokenId) === i);
      return first.slice(0, topK).map(({ tokenId, logSurvival }) => ({
        path: [...path, tokenId],
        score: score + Math.min(0, logSurvival),
      }));
    });
    pool.push(...level);
    frontier = level.toSorted((a, b) => b.score - a.score).slice(0, topK);
  }
  return pool;
}

function pathsOf(tree: DraftTree): string[] {
  return tree.tokenIds.slice(1).map((_, i) => {
    return pathOf(tree, i + 1)
      .map((node) => tree.tokenIds[node])
      .join();
  });
}

/** Estimated number of tokens that the walk accepts. */
function expectedAccepted(nodes: readonly PoolNode[]): number {
  return nodes.reduce((sum, { score }) => sum + Math.exp(score), 0);
}

test("any candidates give a valid tree within its limits, as large as there are candidates for", () => {
  let numFull = 0;
  fc.assert(
    fc.property(options, fc.nat(), (limits, seed) => {
      const tree = grow(limits, awkward(seed));
      checkDraftTree(tree);
      expect(tree.tokenIds[0]).toBe(ROOT);
      expect(Math.max(...tree.depths)).toBeLessThanOrEqual(limits.maxDepth);
      const numCandidates = wholePool(limits, awkward(seed)).length;
      expect(tree.tokenIds).toHaveLength(1 + Math.min(limits.maxNodes - 1, numCandidates));
      if (tree.tokenIds.length > 6) numFull++;
    }),
    { numRuns: 500 },
  );
  expect(numFull).toBeGreaterThan(25);
});

test("is the top of the whole pool by score, then index: leaving nodes out early changes nothing", () => {
  fc.assert(
    fc.property(options, fc.nat(), (limits, seed) => {
      const pool = wholePool(limits, awkward(seed));
      const ranked = [...pool.entries()].sort(([i, a], [j, b]) => b.score - a.score || i - j);
      const best = ranked.slice(0, limits.maxNodes - 1).sort(([i], [j]) => i - j);
      const paths = pathsOf(grow(limits, awkward(seed)));
      expect(paths.toSorted()).toEqual(best.map(([, { path }]) => path.join()).sort());
    }),
    { numRuns: 500 },
  );
});

test("no other tree of that size within the pool accepts more: brute force over all sets closed under ancestors", () => {
  const small = fc.record({
    rootTokenId: fc.constant(ROOT),
    maxNodes: fc.integer({ min: 2, max: 6 }),
    maxDepth: fc.integer({ min: 1, max: 3 }),
    topK: fc.integer({ min: 1, max: 2 }),
  });
  fc.assert(
    fc.property(small, fc.nat(), (limits, seed) => {
      const pool = wholePool(limits, awkward(seed));
      const parents = pool.map(({ path }) => pool.findIndex((other) => other.path.join() === path.slice(0, -1).join()));
      let most = 0;
      for (let set = 0; set < 2 ** pool.length; set++) {
        const members = [...pool.keys()].filter((i) => set & (1 << i));
        const closed = members.every((i) => (pool[i]?.path.length ?? 0) === 1 || set & (1 << (parents[i] ?? 0)));
        if (!closed || members.length > limits.maxNodes - 1) continue;
        most = Math.max(most, expectedAccepted(pool.filter((_, i) => members.includes(i))));
      }
      const paths = new Set(pathsOf(grow(limits, awkward(seed))));
      expect(expectedAccepted(pool.filter(({ path }) => paths.has(path.join())))).toBeCloseTo(most, 12);
    }),
    { numRuns: 60 },
  );
});

describe("examples", () => {
  const even: Drafter = () => [1, 2, 3].map((tokenId) => ({ tokenId, logSurvival: Math.log(1 / 3) }));
  const sure: Drafter = () => [{ tokenId: 1, logSurvival: 0 }];
  const limits = { rootTokenId: ROOT, maxNodes: 5, maxDepth: 3, topK: 3 };

  test("a drafter in doubt gives a wide tree", () => {
    const { tokenIds, parents, depths, probs } = grow(limits, even);
    expect({ tokenIds, parents, depths }).toEqual({
      tokenIds: [ROOT, 1, 2, 3, 1],
      parents: [-1, 0, 0, 0, 1],
      depths: [0, 1, 1, 1, 2],
    });
    expect(probs[0]).toBe(1);
    for (const prob of probs.slice(1)) expect(prob).toBeCloseTo(1 / 3);
  });

  test("a sure one gives a chain, as deep as allowed", () => {
    const chain = { tokenIds: [ROOT, 1, 1, 1], parents: [-1, 0, 1, 2], depths: [0, 1, 2, 3], probs: [1, 1, 1, 1] };
    expect(grow(limits, sure)).toEqual(chain);
  });

  test("equal scores with a parent's go to the parent", () => {
    const tree = grow({ ...limits, maxNodes: 3 }, (path) =>
      path.length === 0 ? [...even([]), ...sure([])] : sure([]),
    );
    expect(tree.parents).toEqual([-1, 0, 0]);
  });

  test.each([{ maxNodes: 1 }, { maxDepth: 0 }, { maxNodes: 0 }, { maxDepth: -1 }])(
    "%o leaves nothing to expand",
    (limit) => {
      const builder = new DynamicTreeBuilder({ ...limits, ...limit });
      expect(builder.done).toBe(true);
      expect(builder.expanded()).toEqual([]);
      expect(builder.build().tokenIds).toEqual([ROOT]);
    },
  );

  test("nodes that can no longer get into the tree are not expanded", () => {
    const builder = new DynamicTreeBuilder({ ...limits, maxNodes: 3 });
    builder.expand([even([])]);
    expect(builder.frontier()).toMatchObject([
      { id: 1, tokenId: 1, parent: 0, depth: 1 },
      { id: 2, tokenId: 2, parent: 0, depth: 1 },
    ]);
    builder.expand([even([]), even([])]);
    expect(builder.done).toBe(true);
  });

  test("a list for each frontier node is needed", () => {
    const builder = new DynamicTreeBuilder(limits);
    expect(() => builder.expand([])).toThrow(/one list of candidates/);
  });
});
