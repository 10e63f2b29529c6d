import fc from "fast-check";
import { expect, test } from "vitest";
import { textLength } from "../../bench/load.ts";

test("texts have every length from half of the most tokens to all of them, about as often", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.nat({ max: 100_000 }), (maxTokens, first) => {
      const numLengths = maxTokens - Math.ceil(maxTokens / 2) + 1;
      const lengths = Array.from({ length: numLengths }, (_, i) => textLength(first + i, maxTokens));
      expect(Math.min(...lengths)).toBe(Math.ceil(maxTokens / 2));
      expect(Math.max(...lengths)).toBe(maxTokens);
      expect(new Set(lengths).size).toBe(numLengths);
    }),
  );
});
