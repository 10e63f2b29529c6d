import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopMatcher } from "../../../engine/text/stop-matcher.ts";
import { firstStop, numPending } from "./naive-stops.ts";

/** Few letters, so that stops overlap each other and themselves. */
const letters = (maxLength: number) => fc.string({ unit: fc.constantFrom("a", "b", "🌱"), maxLength });
const stopStrings = fc.array(letters(6), { maxLength: 5 });

/** Reads the pieces up to a match; its place counts from the start of the text. */
function readAll(matcher: StopMatcher, pieces: readonly string[]) {
  let start = 0;
  for (const piece of pieces) {
    const match = matcher.read(piece);
    if (match) return { end: start + match.end, length: match.length };
    start += piece.length;
  }
  return undefined;
}

describe("StopMatcher", () => {
  it("finds what a look at every prefix of the text finds, however the text is cut", () => {
    let numFound = 0;
    fc.assert(
      fc.property(fc.array(letters(8)), stopStrings, (pieces, stops) => {
        const expected = firstStop(pieces.join(""), stops);
        if (expected) numFound++;
        expect(readAll(new StopMatcher(stops), pieces)).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
    expect(numFound).toBeGreaterThan(200);
  });

  it("holds back exactly what may still become a stop", () => {
    let numHeld = 0;
    fc.assert(
      fc.property(letters(12), stopStrings, (text, stops) => {
        fc.pre(firstStop(text, stops) === undefined);
        const matcher = new StopMatcher(stops);
        matcher.read(text);
        const expected = numPending(text, stops);
        if (expected > 0) numHeld++;
        expect(matcher.numPending).toBe(expected);
      }),
      { numRuns: 2000 },
    );
    expect(numHeld).toBeGreaterThan(200);
  });

  it.each([
    ["the first to be completed, though another began before it", ["bcd", "c"], "abcd", { end: 3, length: 1 }],
    ["the longest of those that end together", ["c", "abc", "bc"], "xabc", { end: 4, length: 3 }],
    ["one that begins inside a failed beginning", ["aab"], "aaab", { end: 4, length: 3 }],
    ["nothing for an empty stop", [""], "abc", undefined],
    ["a whole character, never half of one", ["\uD83C"], "🌱", undefined],
  ])("finds %s", (_what, stops, text, match) => {
    expect(new StopMatcher(stops).read(text)).toEqual(match);
  });

  it("reads a long text against as many stops as a request may have", () => {
    const stops = Array.from({ length: 16 }, (_, i) => `${"a".repeat(254)}${String.fromCharCode(98 + i)}`);
    const matcher = new StopMatcher(stops);
    expect(matcher.read("a".repeat(1_000_000))).toBeUndefined();
    expect(matcher.numPending).toBe(254);
    expect(matcher.read("c")).toEqual({ end: 1, length: 255 });
  });
});
