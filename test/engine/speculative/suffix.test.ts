import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { checkDraftTree, type DraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import { SharedTexts } from "../../../engine/speculative/shared-texts.ts";
import { SuffixProposer } from "../../../engine/speculative/suffix.ts";
import {
  MAX_MATCH,
  MAX_MATCHES,
  MAX_PLACES,
  MIN_MATCH,
  SuffixIndex,
  TEXT_END,
} from "../../../engine/speculative/suffix-index.ts";
import { NOTHING_COMPUTED } from "./nothing-computed.ts";

/** Texts with much repetition: few tokens; a phrase that goes on in several ways; a piece over and over with errors. */
const texts = fc.oneof(
  fc
    .array(fc.nat(2), { minLength: 1, maxLength: 20 })
    .map((ways) => [...ways.flatMap((way, i) => [100 + i, 1, 2, way, 5, way % 2]), 99, 1, 2]),
  fc.array(fc.nat(2), { minLength: 1, maxLength: 120 }),
  fc
    .tuple(
      fc.array(fc.nat(9), { minLength: 1, maxLength: 45 }),
      fc.array(fc.tuple(fc.nat(150), fc.nat(9)), { maxLength: 4 }),
    )
    .map(([piece, errors]) => {
      const text = Array.from({ length: 160 }, (_, i) => piece[i % piece.length] ?? 0);
      for (const [at, token] of errors) text[at] = token;
      return text;
    }),
);

/** Compares the context's end with every place of the text, but for the text's own end. */
function naiveMatch(text: readonly number[], context = text, start = 0) {
  const places = Array.from({ length: text.length - start }, (_, i) => start + i)
    .filter((end) => end > start)
    .map((end) => {
      let length = 0;
      while (
        length < Math.min(end - start, context.length, MAX_MATCH) &&
        text[end - 1 - length] === context[context.length - 1 - length]
      )
        length++;
      return { end, length };
    });
  const matchLen = Math.max(0, ...places.map(({ length }) => length));
  if (matchLen < MIN_MATCH) return { matchLen: 0, ends: [] };
  const ends = places.filter(({ length }) => length === matchLen).map(({ end }) => end);
  return { matchLen, ends: ends.reverse().slice(0, MAX_MATCHES) };
}

function indexOf(text: readonly number[]): SuffixIndex {
  const index = new SuffixIndex();
  index.append(text);
  return index;
}

const matchOf = (text: readonly number[]) => indexOf(text).longestMatch(text);

describe("SuffixIndex", () => {
  test("finds what a comparison with every place finds", () => {
    let numLong = 0;
    fc.assert(
      fc.property(texts, (text) => {
        const match = matchOf(text);
        expect(match).toEqual(naiveMatch(text));
        if (match.matchLen === MAX_MATCH) numLong++;
      }),
      { numRuns: 400 },
    );
    expect(numLong).toBeGreaterThan(20);
  });

  test("is the same however the text arrives", () => {
    fc.assert(
      fc.property(texts, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (text, lengths) => {
        const index = new SuffixIndex();
        for (let [at, i] = [0, 0]; at < text.length; i++) {
          const length = lengths[i % lengths.length] ?? 1;
          index.append(text.slice(at, at + length));
          at += length;
          const known = text.slice(0, at);
          expect(index.longestMatch(known)).toEqual(naiveMatch(known));
        }
      }),
      { numRuns: 40 },
    );
  });

  test("a window: places of its tokens alone, found by any context, in bounded memory", () => {
    let numFound = 0;
    fc.assert(
      fc.property(texts, texts, fc.integer({ min: 2, max: 60 }), (text, context, maxTokens) => {
        const index = new SuffixIndex(maxTokens);
        for (const [i, tokenId] of text.entries()) {
          index.append([tokenId]);
          expect(index.numHeld).toBe(Math.min(i + 1, maxTokens));
          expect(index.numPairs).toBeLessThan(index.numHeld);
        }
        const match = index.longestMatch(context);
        expect(match).toEqual(naiveMatch(text, context, Math.max(0, text.length - maxTokens)));
        if (match.matchLen > 0) numFound++;
        const from = Math.max(0, text.length - maxTokens);
        expect(text.map((_, position) => index.at(position))).toEqual(
          text.map((tokenId, position) => (position < from ? TEXT_END : tokenId)),
        );
      }),
      { numRuns: 300 },
    );
    expect(numFound).toBeGreaterThan(50);
  });

  test.each([[[]], [[5]], [[5, 5]], [[5, 6]], [[6, 5, 6]]])("finds nothing in %j", (text) => {
    expect(matchOf(text)).toEqual({ matchLen: 0, ends: [] });
  });

  test("tokens whose pairs share a key are told apart", () => {
    const alias = 2 ** 26;
    expect(matchOf([1, 2, 9, 1 + alias, 2])).toEqual({ matchLen: 0, ends: [] });
    expect(matchOf([1, 2, 8, 1 + alias, 2, 9, 1, 2])).toEqual({ matchLen: 2, ends: [2] });
  });

  test("looks at so many places and no more", () => {
    const crowd = (numPairs: number) => [7, 1, 2, ...Array.from({ length: numPairs }, () => [1, 2]).flat(), 9, 7, 1, 2];
    // The first three tokens are the longest match, behind all the pairs.
    expect(matchOf(crowd(MAX_PLACES - 1))).toEqual({ matchLen: 3, ends: [3] });
    const { matchLen, ends } = matchOf(crowd(MAX_PLACES));
    expect({ matchLen, numEnds: ends.length }).toEqual({ matchLen: 2, numEnds: MAX_MATCHES });
  });
});

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

describe("SharedTexts", () => {
  test("whatever is added, memory stays bounded: the oldest tokens of a salt go, then the salt used least recently", () => {
    const limits = { maxTokensPerSalt: 20, maxTokens: 45 };
    const additions = fc.array(fc.tuple(fc.nat(4), fc.nat(30)), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(additions, (steps) => {
        const shared = new SharedTexts(limits);
        let recent: string[] = [];
        for (const [salt, length] of steps) {
          const name = `s${salt}`;
          shared.add(
            name,
            Array.from({ length }, (_, i) => i),
          );
          recent = [name, ...recent.filter((other) => other !== name)];
          expect(shared.numTokens).toBeLessThanOrEqual(limits.maxTokens);
          // Two full salts always fit.
          for (const kept of recent.slice(0, 2).reverse()) expect(shared.of(kept)).toBeDefined();
        }
        const held = recent.map((name) => shared.of(name)?.numHeld ?? 0);
        expect(held.reduce((sum, numHeld) => sum + numHeld, 0)).toBe(shared.numTokens);
        expect(Math.max(...held)).toBeLessThanOrEqual(limits.maxTokensPerSalt);
        // Who is remembered was used more recently than who is not.
        expect(held.indexOf(0) < 0 || held.slice(held.indexOf(0)).every((numHeld) => numHeld === 0)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});
