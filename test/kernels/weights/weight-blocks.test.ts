import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expandBlocks, fromHalfBits, quantizeQ8, stackBlocks, toHalfBits } from "../../../kernels/index.ts";
import type { WeightBlocks } from "../../../kernels/weights/weight-blocks.ts";
import { uniform } from "../../support/arrays.ts";
import { Random } from "../../support/random.ts";
import { randomBlocks } from "./random-blocks.ts";

const FORMATS = ["float", "q8", "q4"] as const;
const formats = fc.constantFrom(...FORMATS);
const numBlocks = fc.integer({ min: 1, max: 5 });

describe("expandBlocks", () => {
  it("of one block by hand", () => {
    const quants = Uint8Array.from({ length: 32 }, (_, i) => i % 16);
    const blocks = { format: "q4", quants, scales: Float32Array.of(0.5), minimums: Float32Array.of(-4) } as const;
    expect([...expandBlocks(blocks).subarray(0, 17)]).toEqual(
      [...quants.subarray(0, 16)].map((q) => q / 2 - 4).concat(-4),
    );
    const signed = Int8Array.from({ length: 32 }, (_, i) => i - 16);
    const q8 = { format: "q8", quants: signed, scales: Float32Array.of(0.25) } as const;
    expect(expandBlocks(q8)).toEqual(Float32Array.from(signed, (q) => q / 4));
  });

  it("takes each block's own scale and minimum (property)", () => {
    const property = fc.property(fc.constantFrom("q8", "q4"), numBlocks, fc.integer(), (format, count, seed) => {
      const blocks = randomBlocks(new Random(seed), format, 32 * count);
      if (blocks.format === "float") throw new Error("a quantised format was asked for");
      expandBlocks(blocks).forEach((value, i) => {
        const block = Math.floor(i / 32);
        const minimum = blocks.format === "q4" ? (blocks.minimums[block] ?? Number.NaN) : 0;
        const exact = (blocks.scales[block] ?? Number.NaN) * (blocks.quants[i] ?? Number.NaN) + minimum;
        expect(value).toBe(Math.fround(exact));
      });
    });
    fc.assert(property, { numRuns: 30, seed: 1 });
  });
});

describe("quantizeQ8", () => {
  it("is off by at most half a step and what the scale's rounding adds (property)", () => {
    const magnitude = fc.integer({ min: -12, max: 12 }).map((exponent) => 2 ** exponent);
    const property = fc.property(numBlocks, magnitude, fc.integer(), (count, scale, seed) => {
      const values = uniform(new Random(seed), 32 * count, scale);
      const quantised = expandBlocks(quantizeQ8(values));
      for (let from = 0; from < values.length; from += 32) {
        const block = values.subarray(from, from + 32);
        const largest = Math.max(...block.map(Math.abs));
        for (let i = from; i < from + 32; i++) {
          const [value = Number.NaN, got = Number.NaN] = [values[i], quantised[i]];
          const bound = (largest / 254) * (1 + 2 ** -10) + Math.abs(value) * 2 ** -11 + 127 * 2 ** -25;
          if (!(Math.abs(got - value) <= bound)) expect.fail(`${got}, expected ${value} ± ${bound}`);
        }
      }
    });
    fc.assert(property, { numRuns: 60, seed: 1 });
  });

  it("has scales that f16 holds, and changes nothing that was q8 with its largest quant at ±127 (property)", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new Random(seed);
        const quants = Int8Array.from({ length: 64 }, () => random.int(-127, 127));
        quants[random.int(0, 31)] = random.pick([-127, 127]);
        quants[random.int(32, 63)] = random.pick([-127, 127]);
        const scales = Float32Array.from([1, 2], () => fromHalfBits(toHalfBits(random.next() + 0.01)));
        const again = quantizeQ8(expandBlocks({ format: "q8", quants, scales }));
        expect(again).toEqual({ format: "q8", quants, scales });
      }),
      { numRuns: 50, seed: 1 },
    );
  });

  it("keeps zeros, and blocks too small for a scale become zeros", () => {
    const values = new Float32Array(64);
    values.fill(1e-9, 32);
    expect(expandBlocks(quantizeQ8(values))).toEqual(new Float32Array(64));
  });
});

describe("stackBlocks", () => {
  it("puts the rows of its parts one below the other (property)", () => {
    const parts = fc.array(fc.tuple(formats, numBlocks), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(parts, fc.integer(), (specs, seed) => {
        const random = new Random(seed);
        const parts = specs.map(([format, count]) => randomBlocks(random, format, 32 * count));
        const stacked = stackBlocks(parts);
        expect([...expandBlocks(stacked)]).toEqual(parts.flatMap((part) => [...expandBlocks(part)]));
        const same = new Set(specs.map(([format]) => format));
        expect(stacked.format).toBe(same.size === 1 ? specs[0]?.[0] : "float");
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  it("of mixed formats may be held as q8 unless one of them is of full precision", () => {
    const random = new Random(1);
    const [full, q8, q4] = FORMATS.map((format) => randomBlocks(random, format, 32)) as [
      WeightBlocks,
      WeightBlocks,
      WeightBlocks,
    ];
    const low: WeightBlocks = { format: "float", values: expandBlocks(q8), lowPrecision: true };
    expect(stackBlocks([q8, q4])).toMatchObject({ format: "float", lowPrecision: true });
    expect(stackBlocks([q8, low])).toMatchObject({ format: "float", lowPrecision: true });
    expect(stackBlocks([low, full])).toMatchObject({ format: "float", lowPrecision: false });
    expect(() => stackBlocks([])).toThrow(RangeError);
  });
});
