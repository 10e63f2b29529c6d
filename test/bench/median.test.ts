import { expect, test } from "vitest";
import { medianInterval } from "../../bench/median.ts";
import { Random } from "../support/random.ts";

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

test.each([
  [1, 1, 1],
  [5, 1, 5],
  [6, 1, 6],
  [10, 2, 9],
  [20, 6, 15],
  [40, 14, 27],
])("of %i values: from rank %i to rank %i, as tables of the sign test have them", (n, low, high) => {
  expect(medianInterval(upTo(n).reverse())).toEqual([low, high]);
});

test("holds the true median in at least 95 of 100 samples, of a lopsided distribution too", () => {
  const random = new Random(7);
  for (const n of [8, 10, 25]) {
    let numHeld = 0;
    for (let sample = 0; sample < 4000; sample++) {
      const [low, high] = medianInterval(upTo(n).map(() => Math.exp(3 * random.next())));
      if (low <= Math.exp(1.5) && Math.exp(1.5) <= high) numHeld++;
    }
    expect(numHeld / 4000).toBeGreaterThan(0.94);
    expect(numHeld / 4000).toBeLessThan(0.999);
  }
});
