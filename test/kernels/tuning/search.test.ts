import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { KernelFamily } from "../../../kernels/index.ts";
import { numRanges, possibleRanges, productKey } from "../../../kernels/ops/product.ts";
import { parseChoice, ruleChoice, withChoice } from "../../../kernels/tuning/kernel-choice.ts";
import { searchKernels, type Variant } from "../../../kernels/tuning/search.ts";
import { FakeTimer, MATRIX, PRODUCTS, productOf } from "./products.ts";

const NEVER = { passed: () => false };
const SUBGROUP: KernelFamily = { name: "subgroup", storage: "f16", rowTiles: [1, 2, 4, 8], splitSize: 256 };

/** Every tile pays, and no number of ranges is better than another. */
const passes = ({ numRows, rowTile }: Variant) => Math.ceil(numRows / rowTile);

async function search(timeOf: ConstructorParameters<typeof FakeTimer>[0], family = MATRIX, deadline = NEVER) {
  const timer = new FakeTimer(timeOf);
  return { choice: await searchKernels(family, "key", PRODUCTS, timer, deadline), timer };
}

describe("numbers of ranges", () => {
  const [first = productOf(0, 0)] = PRODUCTS;
  const key = productKey(MATRIX, first.shape);
  const rule = numRanges(MATRIX, first.shape);
  const near = possibleRanges(MATRIX, first.shape);
  const more = near[near.indexOf(rule) + 1] ?? 0;

  it("are the rule's where nothing is clearly faster", async () => {
    const times = [() => 1, (ranges: number) => (ranges === more ? 0.98 : 1), () => Number.NaN];
    for (const timeOf of times) {
      const { choice } = await search((_, variant) => passes(variant) * timeOf(variant.numRanges));
      expect(choice).toEqual(ruleChoice(MATRIX, "key", PRODUCTS));
    }
  });

  it("are the fastest for each product, decoding before prompts", async () => {
    const slowPrompt = ({ numRows }: Variant) => (numRows === 64 ? 1.5 : 0.7);
    const { choice } = await search((product, variant) => {
      return passes(variant) * (product === first && variant.numRanges === more ? slowPrompt(variant) : 1);
    });
    expect(choice.ranges).toEqual({ ...ruleChoice(MATRIX, "key", PRODUCTS).ranges, [key]: more });
    expect(numRanges(withChoice(MATRIX, choice), first.shape)).toBe(more);
  });

  it("of a product whose consumer cannot add them are never measured, and stay one", async () => {
    const { choice, timer } = await search((_, variant) => passes(variant) / variant.numRanges);
    const whole = productOf(2048, 4096, true);
    expect(Object.keys(choice.ranges)).not.toContain(productKey(MATRIX, whole.shape));
    const ofWhole = timer.asked.filter(({ product }) => product.whole).flatMap(({ variants }) => variants);
    expect(new Set(ofWhole.map((variant) => variant.numRanges))).toEqual(new Set([1]));
    expect(numRanges(withChoice(MATRIX, choice), whole.shape, true)).toBe(1);
  });

  it("divide the inputs whatever the times are, and the choice can be read back (property)", async () => {
    const property = fc.asyncProperty(fc.integer(), fc.nat(40), async (seed, numAnswers) => {
      // A shuffle of times by hashing; the clock runs out after some answers.
      let answers = 0;
      const { choice } = await search(
        (product, { numRows, rowTile, numRanges }) => {
          answers++;
          const hash = Math.imul(seed ^ (numRows * 31 + rowTile * 17 + numRanges * 13), 2654435761) >>> 0;
          return product.shape.numInputs + (hash % 1000);
        },
        MATRIX,
        { passed: () => answers > numAnswers },
      );
      expect(parseChoice(JSON.parse(JSON.stringify(choice)), MATRIX, "key", PRODUCTS)).toEqual(choice);
    });
    await fc.assert(property, { numRuns: 50, seed: 1 });
  });
});

describe("row tiles", () => {
  it("are dropped where the next smaller one is as fast over the same rows", async () => {
    const slow = new Set([16, 64]);
    const { choice } = await search((_, variant) => (slow.has(variant.rowTile) ? 100 : 1) * passes(variant));
    expect(choice.rowTiles).toEqual([8, 32]);
  });

  it("are compared with the next smaller one that is used, over all products, by how often each runs", async () => {
    // 2 costs more than two passes of 1; 4 costs less than four passes of 1, but more than two of 2.
    const cost: Record<number, number> = { 1: 1, 2: 2.5, 4: 3.8, 8: 4 };
    const { choice } = await search((_, variant) => (cost[variant.rowTile] ?? 0) * passes(variant), SUBGROUP);
    expect(choice.rowTiles).toEqual([1, 4, 8]);
  });

  it("all stay where there is no answer, or no time to ask", async () => {
    const { choice } = await search(() => Number.NaN);
    expect(choice.rowTiles).toEqual(MATRIX.rowTiles);
    const late = await search(() => 1, MATRIX, { passed: () => true });
    expect(late.choice).toEqual(ruleChoice(MATRIX, "key", PRODUCTS));
    expect(late.timer.asked).toEqual([]);
  });

  it("of families without ranges are all that is measured", async () => {
    const { choice, timer } = await search((_, variant) => passes(variant), SUBGROUP);
    expect(choice).toEqual(ruleChoice(SUBGROUP, "key", PRODUCTS));
    expect(timer.asked).toHaveLength(PRODUCTS.length);
  });
});
