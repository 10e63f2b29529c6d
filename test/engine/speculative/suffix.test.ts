import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { checkDraftTree, type DraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import { SuffixProposer } from "../../../engine/speculative/suffix.ts";
import { naiveMatch, texts } from "./naive-match.ts";
import { NOTHING_COMPUTED } from "./nothing-computed.ts";

async function propose(tokenIds: readonly number[], maxNodes = 8, maxDepth = 6): Promise<DraftTree> {
  const proposer = new SuffixProposer();
  proposer.begin("a", tokenIds);
  const [tree] = await proposer.propose([
    { id: "a", tokenIds, choice: 0, params: GREEDY, target: NOTHING_COMPUTED, maxNodes, maxDepth },
  ]);
  if (tree === undefined) throw new Error("no tree");
  return tree;
}

function pathsOf(tree: DraftTree): Map<string, number> {
  const nodes = [...tree.tokenIds.keys()].slice(1).map((node) => pathOf(tree, node));
  return new Map(
    nodes.map((path) => {
      const survival = path.reduce((product, node) => product * (tree.probs[node] ?? 0), 1);
      return [path.map((node) => tree.tokenIds[node]).join(), survival];
    }),
  );
}

/** Survival of every continuation that some place with the longest match has: by counting, text by text. */
function naiveContinuations(text: readonly number[], maxDepth: number): Map<string, number> {
  const { matchLen, ends } = naiveMatch(text);
  const continuations = ends.map((end) => {
    const copied = [...text];
    for (let i = 0; i < maxDepth; i++) copied.push(copied[end + i] ?? -1);
    return copied.slice(text.length);
  });
  const count = (path: readonly number[]) =>
    continuations.filter((continuation) => path.every((token, i) => continuation[i] === token)).length;
  const result = new Map<string, number>();
  for (const continuation of continuations) {
    let survival = 1;
    for (let depth = 1; depth <= maxDepth; depth++) {
      const numSeen = count(continuation.slice(0, depth - 1));
      survival *= count(continuation.slice(0, depth)) / (numSeen + 2 / (matchLen + depth - 1));
      result.set(continuation.slice(0, depth).join(), survival);
    }
  }
  return result;
}

describe("SuffixProposer", () => {
  test("takes the likeliest continuations by count", async () => {
    let numBranching = 0;
    const limits = fc.record({ maxNodes: fc.integer({ min: 1, max: 12 }), maxDepth: fc.nat(6) });
    await fc.assert(
      fc.asyncProperty(texts, limits, async (text, { maxNodes, maxDepth }) => {
        const tree = await propose(text, maxNodes, maxDepth);
        checkDraftTree(tree);
        const all = naiveContinuations(text, maxDepth);
        const paths = pathsOf(tree);
        for (const [path, survival] of paths) expect(survival).toBeCloseTo(all.get(path) ?? -1, 12);
        const best = [...all.values()].filter((survival) => survival >= 0.15).sort((a, b) => b - a);
        const taken = [...paths.values()].sort((a, b) => b - a);
        expect(taken).toHaveLength(Math.min(maxNodes - 1, best.length));
        for (const [i, survival] of taken.entries()) expect(survival).toBeCloseTo(best[i] ?? -1, 12);
        if (new Set(tree.parents).size < tree.parents.length) numBranching++;
      }),
      { numRuns: 300 },
    );
    expect(numBranching).toBeGreaterThan(20);
  });

  test("proposes what followed the longest match", async () => {
    const tree = await propose([9, 1, 2, 3, 4, 5, 8, 2, 3, 7, 1, 2, 3]);
    expect(tree.tokenIds).toEqual([3, 4, 5, 8, 2, 3]);
    expect(tree.parents).toEqual([-1, 0, 1, 2, 3, 4]);
  });

  test("the longer the match, the further it goes", async () => {
    const match = (length: number) => Array.from({ length }, (_, i) => 10 + i);
    const rest = Array.from({ length: 20 }, (_, i) => 100 + i);
    const depths = await Promise.all(
      [1, 2, 3, 4].map(async (length) => {
        const tree = await propose([...match(length), ...rest, ...match(length)], 30, 30);
        return tree.tokenIds.length - 1;
      }),
    );
    expect(depths).toEqual([0, 3, 5, 7]);
  });

  test("a loop goes on beyond the text's end, as deep as allowed", async () => {
    const tree = await propose([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3], 9, 8);
    expect(tree.tokenIds).toEqual([3, 1, 2, 3, 1, 2, 3, 1, 2]);
  });

  test("branches where places disagree, the more frequent one first", async () => {
    const tree = await propose([1, 2, 5, 0, 1, 2, 6, 0, 1, 2, 6, 9, 1, 2], 3, 1);
    expect(tree.tokenIds).toEqual([2, 6, 5]);
    expect(tree.parents).toEqual([-1, 0, 0]);
    expect(tree.probs[1]).toBeCloseTo(2 / 4);
  });

  test("learns from what is emitted", async () => {
    const proposer = new SuffixProposer();
    const tokenIds = [1, 2, 3];
    const request = {
      id: "a",
      tokenIds,
      choice: 0,
      params: GREEDY,
      target: NOTHING_COMPUTED,
      maxNodes: 4,
      maxDepth: 1,
    };
    proposer.begin("a", tokenIds);
    expect(await proposer.propose([request])).toMatchObject([{ tokenIds: [3] }]);
    tokenIds.push(4, 2, 3);
    proposer.observe("a", [4, 2, 3]);
    expect(await proposer.propose([request])).toMatchObject([{ tokenIds: [3, 4] }]);
  });

  const phrase = [30, 31, 32, 33, 34];

  /** A request whose output was `phrase`, from beginning to end. */
  function answerOnce(proposer: SuffixProposer, cacheSalt?: string): void {
    proposer.begin("once", [1, 2], cacheSalt === undefined ? {} : { cacheSalt });
    proposer.observe("once", phrase);
    proposer.end("once");
  }

  async function draft(
    proposer: SuffixProposer,
    prompt: readonly number[],
    hints = {},
    output: readonly number[] = [],
  ) {
    const limits = { choice: 0, params: GREEDY, target: NOTHING_COMPUTED, maxNodes: 8, maxDepth: 6 };
    const tokenIds = [...prompt, ...output];
    proposer.begin("now", prompt, hints);
    proposer.observe("now", output);
    const [tree] = await proposer.propose([{ id: "now", tokenIds, ...limits }]);
    return tree?.tokenIds ?? [];
  }

  test("drafts from outputs of others that have ended, of the same salt alone", async () => {
    const proposer = new SuffixProposer();
    answerOnce(proposer, "a");
    expect(await draft(proposer, [8, 30, 31], { cacheSalt: "a" })).toEqual([31, 32, 33, 34]);
    expect(await draft(proposer, [8, 30, 31], { cacheSalt: "b" })).toEqual([31]);
    expect(await draft(proposer, [8, 30, 31])).toEqual([31]);
  });

  test("of two structures takes the one that promises more, the own one where they are even", async () => {
    const proposer = new SuffixProposer();
    answerOnce(proposer);
    // Seen twice in the own text, going on otherwise: more certain than the one place elsewhere.
    expect(await draft(proposer, [30, 31, 7, 7, 30, 31, 7, 7, 30, 31])).toEqual([31, 7, 7, 30, 31, 7, 7]);
    // A longer match elsewhere.
    expect(await draft(proposer, [31, 32, 5, 9, 30, 31, 32])).toEqual([32, 33, 34]);
    expect(await draft(proposer, [31, 32, 5, 9, 31, 32])).toEqual([32, 5, 9, 31]);
  });

  test("a prediction is drafted from the first token on, and again after the text has left it", async () => {
    const proposer = new SuffixProposer();
    const prompt = [1, 2, 3, 4, 5];
    const prediction = [11, 12, 13, 14, 15, 16, 17, 18];
    expect(await draft(proposer, prompt, { prediction })).toEqual([5, 11, 12, 13, 14, 15, 16]);
    expect(await draft(proposer, prompt, { prediction }, [11, 12, 99, 14, 15])).toEqual([15, 16, 17, 18]);
    expect(await draft(proposer, prompt)).toEqual([5]);
  });
});
