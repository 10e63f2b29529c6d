import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CAPE_STEPS, mostCandidates, widenByConfidence } from "../../../../engine/speculative/glide/cape.ts";
import type { Candidate } from "../../../../engine/speculative/tree-builder.ts";

/** Ten candidates, the best with probability `confidence`. */
function candidates(confidence: number): Candidate[] {
  return Array.from({ length: 10 }, (_, i) => ({
    tokenId: i,
    logSurvival: i === 0 ? Math.log(confidence) : Math.log((1 - confidence) / 20),
  }));
}

describe("confidence-aware proposal expansion", () => {
  test.each([
    [0.1, 7],
    [0.29, 7],
    [0.31, 5],
    [0.59, 5],
    [0.61, 3],
    [0.79, 3],
    [0.81, 1],
    [1, 1],
  ])("a best candidate of probability %d brings %i candidates", (confidence, expected) => {
    expect(widenByConfidence(candidates(confidence), CAPE_STEPS)).toHaveLength(expected);
  });

  test("the best ones are kept, in order, and never more for more confidence", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (a, b) => {
          const [less, more] = [Math.min(a, b), Math.max(a, b)].map((p) =>
            widenByConfidence(candidates(p), CAPE_STEPS),
          );
          expect(less?.length).toBeGreaterThanOrEqual(more?.length ?? Infinity);
          expect(less?.map(({ tokenId }) => tokenId)).toEqual([...(less?.keys() ?? [])]);
          expect(less?.length).toBeLessThanOrEqual(mostCandidates(CAPE_STEPS));
        },
      ),
    );
  });

  test("no candidates, and steps of one's own", () => {
    expect(widenByConfidence([], CAPE_STEPS)).toEqual([]);
    expect(widenByConfidence(candidates(0.9), [{ upTo: 0.5, numCandidates: 4 }])).toHaveLength(4);
  });
});
