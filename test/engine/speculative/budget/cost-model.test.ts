import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CostModel } from "../../../../engine/speculative/budget/cost-model.ts";
import { DeviceTimes } from "../../../../engine/speculative/budget/device-times.ts";
import { HostTimes } from "../../../../engine/speculative/budget/host-times.ts";
import { type PassCost, PassTimes } from "../../../../engine/speculative/budget/pass-times.ts";
import { StepCosts } from "../../../../engine/speculative/budget/step-costs.ts";
import { Random } from "../../../support/random.ts";

const table = (passes: readonly PassCost[]) => new PassTimes({ passes, perToken: [], treeShare: 0 });
const PASSES = table([1, 2, 4, 8, 16].map((numRows) => ({ numRows, ms: 10 + numRows })));

const MODELS: readonly [string, () => CostModel][] = [
  ["of the host", () => new HostTimes({ passes: PASSES, plainOnDevice: false, draftRows: 2 })],
  [
    "of the host, plain steps on the device",
    () => new HostTimes({ passes: PASSES, plainOnDevice: true, draftRows: 2 }),
  ],
  ["of the device", () => new DeviceTimes(PASSES, 2)],
];

describe.each(MODELS)("a cost model: %s", (_, make) => {
  test("plain steps take what start-up measured at first, then what they were seen to take, also with a few more sequences", () => {
    const costs = make();
    expect(costs.plainMs(4)).toBeCloseTo(14, 9);
    expect(costs.numPlainObserved(4)).toBe(0);
    for (let i = 0; i < 50; i++) costs.observePlain(4, 28);
    expect(costs.numPlainObserved(4)).toBe(50);
    for (const [numSequences, ms] of [
      [4, 28],
      [5, 30],
    ] as const)
      expect(Math.abs(costs.plainMs(numSequences) / ms - 1)).toBeLessThan(0.05);
  });

  test("larger and deeper trees are not thought to take less", () => {
    const sizes = fc.tuple(
      fc.integer({ min: 1, max: 32 }),
      fc.integer({ min: 2, max: 64 }),
      fc.integer({ min: 1, max: 8 }),
    );
    fc.assert(
      fc.property(sizes, ([numSequences, numNodes, depth]) => {
        const costs = make();
        const shape = { numSequences, numNodes, depth };
        expect(costs.wholeMs(shape)).toBeGreaterThan(0);
        expect(costs.wholeMs({ ...shape, numNodes: numNodes + 1 })).toBeGreaterThanOrEqual(costs.wholeMs(shape));
        expect(costs.wholeMs({ ...shape, depth: depth + 1 })).toBeGreaterThanOrEqual(costs.wholeMs(shape));
      }),
    );
  });

  test("how trees of which no step came compare with plain steps is not known, and looks are noisy", () => {
    const costs = make();
    for (let i = 0; i < 30; i++) costs.observePlain(4, 14);
    expect(costs.variance(4, { numSequences: 4, numNodes: 4, depth: 2 }, undefined)).toBeGreaterThan(0.001);
    expect(costs.noise(4, 8)).toBeGreaterThan(0.0001);
  });
});

describe("HostTimes", () => {
  const make = (plainOnDevice: boolean) => new HostTimes({ passes: PASSES, plainOnDevice, draftRows: 2 });

  test("is the start-up measurement at first, goes on beyond it, and costs nothing where nothing is drafted", () => {
    const costs = make(false);
    for (const numRows of [1, 3, 7, 16, 40]) expect(costs.verifyMs(numRows, 1)).toBeCloseTo(10 + numRows, 9);
    expect(costs.plainMs(4)).toBe(costs.verifyMs(4, 4));
    expect(costs.draftMs(4, 5)).toBe(0);
  });

  test("learns every part from noisy steps, and keeps what it knows of other sizes", () => {
    const costs = make(true);
    const random = new Random(2);
    const noisy = (ms: number) => ms * (0.8 + 0.4 * random.next()) * (random.next() < 0.02 ? 4 : 1);
    for (let i = 0; i < 600; i++) {
      costs.observePlain(4, noisy(7));
      costs.observeVerify(16, 4, noisy(52));
      costs.observeDraft(4, 3, noisy(12));
    }
    // The machine is thought to be as fast as the latest few steps were.
    const [known, ...others] = [costs.plainMs(4) / 7, costs.verifyMs(16, 4) / 52, costs.draftMs(4, 3) / 12];
    expect(Math.abs((known ?? 0) - 1)).toBeLessThan(0.2);
    for (const other of [...others, costs.draftMs(4, 6) / 24]) expect(other / (known ?? 1)).toBeCloseTo(1, 1);
  });
});

describe("DeviceTimes", () => {
  test("whole steps tell what others take: deeper ones, of more nodes, and for more sequences", () => {
    const costs = new DeviceTimes(PASSES, 2);
    for (let i = 0; i < 400; i++) {
      const look = Math.floor(i / 8);
      const [depth, numNodes] = [1 + (look % 3), look % 2 === 0 ? 4 : 6];
      costs.observe({ numSequences: 2, numNodes, depth }, 16 + 5 * depth + 2 * numNodes + 4);
    }
    const whole = (numSequences: number, numNodes: number, depth: number) =>
      costs.wholeMs({ numSequences, numNodes, depth });
    expect(whole(2, 4, 2) / 38).toBeCloseTo(1, 1);
    expect(whole(2, 4, 5) / 53).toBeCloseTo(1, 1);
    // Nearly three times as many nodes as any step had.
    expect(Math.abs(whole(2, 16, 2) / 62 - 1)).toBeLessThan(0.2);
    expect(whole(8, 4, 2)).toBeGreaterThan(whole(2, 4, 2));
  });

  test("sizes that are tried one after the other on a machine that changes all the time are told apart", () => {
    const costs = new DeviceTimes(PASSES, 2);
    for (let i = 0; i < 1200; i++) {
      const machine = Math.exp(0.5 * Math.sin(i / 40));
      const depth = Math.floor(i / 30) % 2 === 0 ? 2 : 4;
      costs.observe({ numSequences: 2, numNodes: 4, depth }, machine * (10 + 10 * depth));
    }
    const ratio =
      costs.wholeMs({ numSequences: 2, numNodes: 4, depth: 4 }) /
      costs.wholeMs({ numSequences: 2, numNodes: 4, depth: 2 });
    expect(ratio).toBeGreaterThan(1.4);
    expect(ratio).toBeLessThan(1.95);
  });

  test("a machine that becomes slower is slower for all", () => {
    const costs = new DeviceTimes(PASSES, 2);
    const size = { numSequences: 4, numNodes: 4, depth: 2 };
    for (let i = 0; i < 400; i++) costs.observePlain(4, 10);
    const before = costs.wholeMs(size);
    for (let i = 0; i < 400; i++) costs.observePlain(4, 20);
    expect(costs.plainMs(4)).toBeCloseTo(20, 0);
    expect(costs.wholeMs(size) / before).toBeGreaterThan(1.3);
  });

  test("a machine that is faster and slower by the moment is not taken for another one, whatever seems best is in use", () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = new Random(seed);
      const trueMs = ({ numNodes, depth }: { numNodes: number; depth: number }) => 0.6 + 0.002 * numNodes + 0.1 * depth;
      const passes = [1, 16].map((numRows) => ({ numRows, ms: 0.6 + 0.002 * numRows }));
      const model = new DeviceTimes(table(passes), 1);
      const sizes = [2, 4, 8, 16].flatMap((numNodes) =>
        [1, 2, 3, 4].filter((depth) => depth < numNodes).map((depth) => ({ numSequences: 1, numNodes, depth })),
      );
      let gust = 0;
      const gusts = () => {
        gust = 0.96 * gust + 0.3 * 0.28 * (2 * random.next() - 1) * Math.sqrt(3);
        return Math.exp(gust);
      };
      for (let i = 0; i < 20; i++) model.observePlain(1, 0.6 * gusts());
      for (let run = 0; run < 120; run++) {
        // What seems to take the least beside what it truly takes, or now and then any.
        const seeming = sizes.map((size) => model.wholeMs(size) / trueMs(size));
        const best = sizes[run % 4 === 0 ? random.int(0, sizes.length - 1) : seeming.indexOf(Math.min(...seeming))];
        if (best) for (let i = 0; i < 32; i++) model.observe(best, trueMs(best) * gusts());
      }
      expect(Math.abs(Math.log(model.plainMs(1) / 0.6))).toBeLessThan(0.75);
    }
  });
});

test("the last step of a run, which takes half as long, does not tell what steps take", () => {
  const passes = table([1, 64, 512].map((numRows) => ({ numRows, ms: 10 + numRows / 64 })));
  const device = new DeviceTimes(passes, 1);
  const costs = new StepCosts(true, new HostTimes({ passes, plainOnDevice: true, draftRows: 1 }), device);
  const limits = { numLookaheadNodes: 7, maxDraftDepth: 4 };
  const step = { numSequences: 4, numLanes: 4, context: 0, numRows: 4 * 8, numEmitted: 12, limits, drafts: [] };
  for (let i = 0; i < 300; i++) {
    const isLast = i % 3 === 2;
    const times = { stepMs: isLast ? 10 : 20, draftMs: 0 };
    costs.observe({ ...step, ...times, onDevice: true, isSteady: true, hasPrompt: false, isLast, catchesUp: false });
  }
  expect(device.wholeMs({ numSequences: 4, numNodes: 8, depth: 4 })).toBeCloseTo(20, 0);
});

test("a step with idle lanes, or whose sequences end in it, tells what as many lanes take as it has", () => {
  const passes = table([1, 64, 512].map((numRows) => ({ numRows, ms: 10 + numRows / 64 })));
  const device = new DeviceTimes(passes, 1);
  const host = new HostTimes({ passes, plainOnDevice: true, draftRows: 1 });
  const costs = new StepCosts(true, host, device);
  const shape = { numSequences: 32, numNodes: 8, depth: 4 };
  const own = device.wholeMs(shape);
  const limits = { numLookaheadNodes: 7, maxDraftDepth: 4 };
  for (let i = 0; i < 300; i++) {
    costs.observe({
      ...{ numSequences: 20 + (i % 12), numLanes: 32, context: 0, numRows: 32 * 8, numEmitted: 60, limits, drafts: [] },
      ...{
        onDevice: true,
        isSteady: true,
        hasPrompt: false,
        stepMs: 2 * own,
        isLast: false,
        catchesUp: false,
        draftMs: 0,
      },
    });
  }
  expect(Math.abs(device.wholeMs(shape) / (2 * own) - 1)).toBeLessThan(0.02);
});
