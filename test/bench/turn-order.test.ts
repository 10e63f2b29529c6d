import fc from "fast-check";
import { expect, test } from "vitest";
import { turnOrder } from "../../bench/turn-order.ts";

test("every round has all of them once, and in 2 n rounds each begins twice and comes after each other one twice", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), (numPlaces) => {
      const all = Array.from({ length: numPlaces }, (_, place) => place);
      const [numFirst, numAfter] = [new Map<number, number>(), new Map<string, number>()];
      const count = <K>(counts: Map<K, number>, key: K) => counts.set(key, (counts.get(key) ?? 0) + 1);
      for (let round = 0; round < 2 * numPlaces; round++) {
        const order = turnOrder(numPlaces, round);
        expect(order.toSorted((a, b) => a - b)).toEqual(all);
        count(numFirst, order[0] ?? -1);
        for (const [i, place] of order.entries()) if (i > 0) count(numAfter, `${place} after ${order[i - 1]}`);
      }
      expect(numFirst).toEqual(new Map(all.map((place) => [place, 2])));
      expect(numAfter.size).toBe(numPlaces * (numPlaces - 1));
      expect([...numAfter.values()].every((times) => times === 2)).toBe(true);
    }),
  );
});
