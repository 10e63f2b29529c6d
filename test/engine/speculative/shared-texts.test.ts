import fc from "fast-check";
import { expect, test } from "vitest";
import { SharedTexts } from "../../../engine/speculative/shared-texts.ts";

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
