import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Gusts } from "../../../../engine/speculative/budget/gusts.ts";
import { StepFilter, type StepKind } from "../../../../engine/speculative/budget/step-filter.ts";
import { Random } from "../../../support/random.ts";

const positive = (max: number) => fc.double({ min: 1 / max, max, noNaN: true });

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** A machine that gets faster and slower from step to step, in log ratio. */
function machine(random: Random, gust: number, step: number) {
  let level = 0;
  return () => {
    level = 0.96 * level + gust * normal(random);
    return Math.exp(level + step * normal(random));
  };
}

function meanSquare(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value ** 2, 0) / values.length;
}

describe("StepFilter", () => {
  const factors = { plain: 0, parts: [0, Math.log(0.1), 0] };

  test("is the sum that was thought to be before anything was seen", () => {
    const filter = new StepFilter({ plain: Math.log(2), parts: [0, Math.log(0.5), Math.log(2)] }, false);
    expect(filter.at({ parts: [10] })).toBeCloseTo(20);
    expect(filter.at({ size: 1, parts: [10, 4, 3] })).toBeCloseTo(18);
  });

  test("finds the factors behind noise, whatever they were thought to be", () => {
    fc.assert(
      fc.property(fc.tuple(positive(2), positive(4), positive(8)), fc.nat(), (truth, seed) => {
        const filter = new StepFilter({ plain: 0, parts: [0, 0, 0] }, false);
        const random = new Random(seed);
        const trueMs = (parts: readonly number[]) => parts.reduce((sum, part, i) => sum + part * (truth[i] ?? 0), 0);
        for (let i = 0; i < 600; i++) {
          const [depth, numNodes] = [random.int(1, 6), random.int(0, 15)];
          const parts = [10, depth, 3 * numNodes];
          for (let step = 0; step < 3; step++)
            filter.observe({ size: numNodes * 10 + depth, parts }, trueMs(parts) * (0.9 + 0.2 * random.next()));
        }
        for (const [size, parts] of [
          [11, [10, 1, 3]],
          [16, [10, 6, 3]],
          [151, [10, 1, 45]],
        ] as const)
          expect(Math.abs(filter.at({ size, parts }) / trueMs(parts) - 1)).toBeLessThan(0.15);
      }),
      { numRuns: 40 },
    );
  });

  test("what start-up measured wrongly of a number of nodes is taken for that: trees of other depths differ likewise, those of other numbers far less", () => {
    const filter = new StepFilter({ plain: 0, parts: [0, 0, 0] }, false);
    const kind = (numNodes: number, depth: number): StepKind => {
      return { size: 100 * numNodes + depth, numNodes, parts: [50, 5 * depth, 5 * numNodes] };
    };
    const trueMs = ({ numNodes, parts }: StepKind) => parts.reduce((sum, ms) => sum + ms) * (numNodes === 4 ? 1.2 : 1);
    const seen = [kind(3, 1), kind(4, 1), kind(6, 1), kind(3, 3), kind(6, 3)];
    for (let i = 0; i < 80; i++) {
      const one = seen[i % seen.length] ?? kind(3, 1);
      for (let step = 0; step < 4; step++) filter.observe(one, trueMs(one));
    }
    const ratio = (one: StepKind) => filter.at(one) / filter.at(kind(3, 1)) / (trueMs(one) / trueMs(kind(3, 1)));
    expect(Math.abs(ratio(kind(4, 3)) - 1)).toBeLessThan(0.03);
    expect(Math.abs(ratio(kind(8, 3)) - 1)).toBeLessThan(0.06);
    // Two trees of as many nodes are sure to differ less than one of them from another that was not seen either.
    expect(filter.variance(kind(12, 1), kind(12, 2))).toBeLessThan(filter.variance(kind(12, 1), kind(16, 2)));
  });

  test("one look tells what is ten times off, and what was not looked at stays about as it was thought to be", () => {
    const filter = new StepFilter(factors, false);
    for (let i = 0; i < 20; i++) filter.observe({ parts: [60] }, 60);
    const look = { size: 1, parts: [60, 100, 80] };
    for (let i = 0; i < 6; i++) filter.observe(look, 1200);
    expect(Math.abs(filter.at(look) / 1200 - 1)).toBeLessThan(0.2);
    filter.observe({ parts: [60] }, 60);
    expect(Math.abs(filter.at({ parts: [60] }) / 60 - 1)).toBeLessThan(0.4);
  });

  test("one step that waited for something else is not believed, also where it is the first of its size", () => {
    for (let place = 0; place < 6; place++) {
      const filter = new StepFilter(factors, false);
      for (let i = 0; i < 20; i++) filter.observe({ parts: [10] }, 10);
      const look = { size: 1, parts: [10, 20, 3] };
      for (let i = 0; i < 6; i++) filter.observe(look, i === place ? 75 : 15);
      expect(Math.abs(filter.at(look) / filter.at({ parts: [10] }) / 1.5 - 1)).toBeLessThan(0.05);
    }
  });

  test("two steps in a row that waited for something else move little of what is known", () => {
    const used = { size: 1, parts: [12.4, 15.2, 1.6] };
    const other = { size: 2, parts: [12.4, 45.6, 8] };
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed);
      const filter = new StepFilter(factors, false);
      const see = (kind: StepKind, ms: number, times: number) => {
        for (let i = 0; i < times; i++) filter.observe(kind, ms * Math.exp(0.08 * normal(random)));
      };
      see({ parts: [12.4] }, 11.4, 8);
      see(other, 25, 6);
      see(used, 14, 250);
      const before = filter.at(used) / filter.at({ parts: [12.4] });
      for (const ms of [14, 45, 40, 13, 14]) filter.observe(used, ms);
      const after = filter.at(used) / filter.at({ parts: [12.4] });
      expect(Math.abs(Math.log(after / before))).toBeLessThan(0.08);
      expect(Math.abs(Math.log(filter.at(used) / 14))).toBeLessThan(0.25);
    }
  });

  test("stays positive and rises with each part, whatever was seen; what it is sure of is no less than nothing", () => {
    const parts = fc.tuple(positive(100), fc.double({ min: 0, max: 100, noNaN: true }), fc.constant(0));
    const kinds = fc.record({ size: fc.nat(4), parts });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.option(kinds), positive(1000)), { maxLength: 40 }), (seen) => {
        const filter = new StepFilter(factors, false);
        for (const [kind, ms] of seen) filter.observe(kind ?? { parts: [1] }, ms);
        const at = (...own: number[]) => filter.at({ size: 9, parts: own });
        expect(at(1, 1, 1)).toBeGreaterThan(0);
        for (const more of [at(2, 1, 1), at(1, 2, 1), at(1, 1, 2)]) expect(more).toBeGreaterThan(at(1, 1, 1));
        const [one, other]: StepKind[] = [{ size: 0, parts: [1, 2, 3] }, { parts: [1] }];
        if (one && other) expect(filter.variance(one, other)).toBeGreaterThanOrEqual(0);
        if (one) expect(filter.variance(one, one)).toBeCloseTo(0, 9);
      }),
    );
  });

  test("looks between steps of what is in use are told from the machine's gusts, and it is known how well", () => {
    const [used, other]: StepKind[] = [
      { size: 1, parts: [10, 2, 3] },
      { size: 2, parts: [10, 4, 3] },
    ];
    if (used === undefined || other === undefined) expect.fail();
    const [errors, surprises]: [number[], number[]] = [[], []];
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed);
      const next = machine(random, 0.08, 0.08);
      // One size differs from its parts, as sizes do.
      const truth = 0.035 * normal(random);
      const filter = new StepFilter({ plain: 0, parts: [0, 0, 0] }, true);
      for (let round = 0; round < 12; round++) {
        for (let i = 0; i < 40; i++) filter.observe(used, 15 * next());
        for (let i = 0; i < 8; i++) filter.observe(other, 17 * Math.exp(truth) * next());
      }
      for (let i = 0; i < 8; i++) filter.observe(used, 15 * next());
      const error = Math.log(filter.at(other) / filter.at(used) / (17 / 15)) - truth;
      errors.push(error);
      surprises.push(error / Math.sqrt(filter.variance(other, used)));
    }
    // The level itself strays by 0.29, so that means of eight steps would differ by about as much.
    expect(Math.sqrt(meanSquare(errors))).toBeLessThan(0.05);
    expect(meanSquare(surprises)).toBeGreaterThan(0.3);
    expect(meanSquare(surprises)).toBeLessThan(3);
  });
});

describe("a machine of two speeds", () => {
  const [used, other]: [StepKind, StepKind] = [
    { size: 1, parts: [10, 2, 3] },
    { size: 2, parts: [10, 4, 3] },
  ];

  /** Both sizes are known; then one gives way to the other, just when the machine becomes faster or slower. */
  function shiftOfRatio(filter: StepFilter, random: Random, speed: number): number {
    const see = (kind: StepKind, ms: number, times: number) => {
      for (let i = 0; i < times; i++) filter.observe(kind, ms * Math.exp(0.08 * normal(random)));
    };
    for (let round = 0; round < 3; round++) {
      see(used, 15, 40);
      see(other, 17, 12);
    }
    const ratio = () => filter.at(other) / filter.at(used);
    const before = ratio();
    see(used, 15 * speed, 40);
    return Math.log(ratio() / before);
  }

  test("a change of speed where sizes change is not taken for what sizes take", () => {
    for (const speed of [0.6, 1.7]) {
      const shifts = Array.from({ length: 40 }, (_, seed) =>
        shiftOfRatio(new StepFilter({ plain: 0, parts: [0, 0, 0] }, true), new Random(seed + 1), speed),
      );
      expect(Math.sqrt(meanSquare(shifts)), `${speed}`).toBeLessThan(0.04);
    }
  });

  test("what is off beyond all measure leaves it finite", () => {
    const filter = new StepFilter({ plain: 0, parts: [0, 0, 0] }, true);
    for (let i = 0; i < 12; i++) filter.observe(used, 15);
    for (let i = 0; i < 3; i++) filter.observe(used, 1e-30);
    expect(filter.at(used)).toBeGreaterThan(0);
    expect(filter.variance(used, other)).toBeGreaterThanOrEqual(0);
  });

  test("it is followed at once", () => {
    const random = new Random(5);
    const filter = new StepFilter({ plain: 0, parts: [0, 0, 0] }, true);
    shiftOfRatio(filter, random, 0.6);
    for (let i = 0; i < 5; i++) filter.observe(used, 15 * Math.exp(0.08 * normal(random)));
    expect(Math.abs(filter.at(used) / 15 - 1)).toBeLessThan(0.1);
  });
});

describe("Gusts", () => {
  test.each([
    [0.1, 0.05],
    [0.02, 0.1],
    [0.05, 0.05],
  ])("finds what stays and what does not: %f and %f", (gust, step) => {
    const gusts = new Gusts();
    const next = machine(new Random(3), gust, step);
    for (let i = 0; i < 4000; i++) gusts.observe(1, next());
    expect(Math.abs(Math.sqrt(gusts.noise.gust) - gust)).toBeLessThan(0.02);
    expect(Math.abs(Math.sqrt(gusts.noise.step) - step)).toBeLessThan(0.02);
  });

  test("a step now and then that waited for something else is no noise", () => {
    const [gusts, clean] = [new Gusts(), new Gusts()];
    const [next, same] = [machine(new Random(3), 0.02, 0.04), machine(new Random(3), 0.02, 0.04)];
    for (let i = 0; i < 4000; i++) {
      gusts.observe(1, next() * (i % 40 === 0 ? 3 : 1));
      clean.observe(1, same());
    }
    for (const kind of ["gust", "step"] as const)
      expect(Math.sqrt(gusts.noise[kind]) / Math.sqrt(clean.noise[kind])).toBeLessThan(1.5);
  });

  test("gives the middle one of three in a row", () => {
    fc.assert(
      fc.property(fc.array(positive(100), { minLength: 3, maxLength: 12 }), (times) => {
        const gusts = new Gusts();
        const seen = times.map((ms) => gusts.observe(1, ms));
        expect(seen.slice(0, 2)).toEqual([undefined, undefined]);
        for (let i = 2; i < times.length; i++) {
          const [, middle = 0] = times.slice(i - 2, i + 1).toSorted((a, b) => a - b);
          expect(seen[i]).toBeCloseTo(middle, 9);
        }
        expect(gusts.observe(2, 1)).toBeUndefined();
      }),
    );
  });

  test("steps of another kind are not compared", () => {
    const gusts = new Gusts();
    const before = gusts.noise;
    for (let i = 0; i < 200; i++) gusts.observe(i % 2, i % 2 === 0 ? 1 : 100);
    expect(gusts.noise).toEqual(before);
  });
});
