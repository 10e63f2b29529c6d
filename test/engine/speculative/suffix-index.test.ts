import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_MATCH, MAX_MATCHES, MAX_PLACES, SuffixIndex, TEXT_END } from "../../../engine/speculative/suffix-index.ts";
import { naiveMatch, texts } from "./naive-match.ts";

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
      fc.property(texts, texts, fc.nat(4), fc.integer({ min: 2, max: 60 }), (text, other, numShared, maxTokens) => {
        const context = [...other, ...text.slice(-2 - numShared, -1)];
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
