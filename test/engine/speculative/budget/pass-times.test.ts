import { describe, expect, test } from "vitest";
import { DeviceTimes } from "../../../../engine/speculative/budget/device-times.ts";
import { PassTimes } from "../../../../engine/speculative/budget/pass-times.ts";

/** Rows, and what a token of context adds to rows of as many sequences; each further row of all trees adds a quarter of that. */
const pass = (numRows: number) => 1 + 0.01 * numRows;
const added = (numRows: number) => 1e-4 * (3 + numRows);
const points = (ms: (numRows: number) => number) => [1, 4, 64].map((numRows) => ({ numRows, ms: ms(numRows) }));
const make = (treeShare = 0.25) => new PassTimes({ passes: points(pass), perToken: points(added), treeShare });

describe("PassTimes", () => {
  test("is linear between its points and beyond them", () => {
    const times = make();
    for (const numRows of [1, 2, 4, 30, 64, 200]) expect(times.of(numRows)).toBeCloseTo(pass(numRows), 9);
  });

  test("adds what the context costs: for the sequences, and for each further row of their trees a share of that", () => {
    const times = make();
    times.context = 1000;
    expect(times.of(8)).toBeCloseTo(pass(8) + 1000 * added(8), 9);
    expect(times.of(32, 8)).toBeCloseTo(pass(32) + 1000 * added(8) * (1 + 0.25 * 3), 9);
    times.context = 0;
    expect(times.of(32, 8)).toBeCloseTo(pass(32), 9);
  });

  test("where no context was measured, it costs nothing", () => {
    const times = new PassTimes({ passes: points(pass), perToken: [], treeShare: 0 });
    times.context = 1000;
    expect(times.of(8, 2)).toBeCloseTo(pass(8), 9);
  });

  test("steps at short contexts tell what steps at long ones take, plain ones and those with trees", () => {
    const times = make();
    const truth = make();
    const costs = new DeviceTimes(times, 1);
    const shape = { numSequences: 4, numNodes: 8, depth: 1 };
    // The machine is half as fast as it was at start-up, and a level of the draft takes a fifth of a pass.
    const plainMs = () => 2 * truth.of(4);
    const treeMs = () => 2 * (truth.of(32, 4) + 0.2 * truth.of(4));
    for (let i = 0; i < 400; i++) {
      times.context = truth.context = i % 100;
      if (i % 40 < 20) costs.observePlain(4, plainMs());
      else costs.observe(shape, treeMs());
    }
    times.context = truth.context = 20_000;
    expect(Math.abs(costs.plainMs(4) / plainMs() - 1)).toBeLessThan(0.05);
    expect(Math.abs(costs.wholeMs(shape) / treeMs() - 1)).toBeLessThan(0.05);
  });
});
