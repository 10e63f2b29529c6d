import { describe, expect, test } from "vitest";
import { AdaptiveTrees } from "../../../../engine/speculative/budget/adaptive-trees.ts";
import type { PassTable } from "../../../../engine/speculative/budget/pass-times.ts";
import { NO_TREES } from "../../../../scheduler/output.ts";
import { fixedRates, MAX_DEPTH, MAX_NODES, meanLengths, simulate, type World } from "./simulation.ts";
import { GUSTY, MISMEASURED, SLOW_TO_CATCH_UP, WORLDS } from "./worlds.ts";

const LOADS = [1, 2, 4, 8, 16, 32];

describe("adaptive trees", () => {
  // Chosen from one sample, measured on another: the best of many is no accident then.
  const [chosenBy, measuredBy] = [meanLengths(anyWorld(), 0, 1, 1000), meanLengths(anyWorld(), 0, 2, 2000)];

  test.each(WORLDS)(
    "$name: as good as the better of plain decoding and the best fixed trees, at every load",
    (world) => {
      const ratios = LOADS.map((numStreams) => {
        const { plain } = fixedRates(world, measuredBy, numStreams);
        const run = { load: () => numStreams, numSteps: 600 + Math.max(300, 3000 / numStreams), warmUp: 600 };
        const rates = [1, 2].map((seed) => simulate(world, measuredBy, { ...run, seed }).rate);
        return mean(rates) / Math.max(plain, bestFixed(world, numStreams));
      });
      // Sizes that are nearly as good are not told apart in the noise: of a few hundred steps some have the second best.
      expect(Math.min(...ratios), ratios.join(" ")).toBeGreaterThanOrEqual(0.92);
      expect(mean(ratios)).toBeGreaterThanOrEqual(0.96);
    },
  );

  test("a machine that is faster and slower by the moment: nearly as good, though a look tells little", () => {
    const ratios = LOADS.map((numStreams) => {
      const run = { load: () => numStreams, numSteps: 600 + Math.max(300, 3000 / numStreams), warmUp: 600 };
      const rates = [1, 2, 3].map((seed) => simulate(GUSTY, measuredBy, { ...run, seed }).rate);
      return mean(rates) / bestFixed(GUSTY, numStreams);
    });
    expect(mean(ratios), ratios.join(" ")).toBeGreaterThan(0.94);
  });

  test("what start-up measured wrongly is found out: large trees are looked at even where they seem far too dear", () => {
    for (const numStreams of [4, 16]) {
      const run = { load: () => numStreams, numSteps: 3500, warmUp: 2500 };
      const rates = [1, 2].map((seed) => simulate(MISMEASURED, measuredBy, { ...run, seed }).rate);
      expect(mean(rates) / bestFixed(MISMEASURED, numStreams)).toBeGreaterThan(0.9);
    }
  });

  test("where trees never pay, the first probes of a new engine are given up before they lose much", () => {
    const [world] = WORLDS;
    if (world === undefined) expect.fail();
    for (const numStreams of [8, 16]) {
      const { plain, best } = fixedRates(world, measuredBy, numStreams);
      expect(plain).toBeGreaterThan(best);
      const rates = [1, 2, 3].map((seed) => {
        const run = { load: () => numStreams, numSteps: 200, warmUp: 0, seed };
        return simulate(world, measuredBy, run).rate;
      });
      expect(mean(rates) / plain).toBeGreaterThan(0.93);
    }
  });

  test("steps on the device do not stop for another size of trees", () => {
    const run = { load: () => 1, numSteps: 1500, warmUp: 0, seed: 1 };
    const changes = WORLDS.filter(({ draftsOnDevice }) => draftsOnDevice).map(
      (world) => simulate(world, measuredBy, run).numResized,
    );
    expect(Math.max(...changes.map(({ stopped }) => stopped))).toBe(0);
    expect(mean(changes.map(({ running }) => running))).toBeGreaterThan(10);
  });

  test("a probe ends with the load that it is for", () => {
    const policy = onDevice({ passes: passesOf(10), perToken: [], treeShare: 0 });
    for (let i = 0; i < 8; i++) {
      expect(policy.limits(1, 0)).toEqual(NO_TREES);
      policy.observe({ ...PLAIN, numSequences: 1, numLanes: 1, numRows: 1, numEmitted: 1, stepMs: 10 });
    }
    expect(policy.limits(1, 0).numLookaheadNodes).toBeGreaterThan(0);
    expect(policy.limits(32, 0)).toEqual(NO_TREES);
  });

  test("trees that are expected to be best are tried at once: nothing else is looked at first, nor before they have shown what they take", () => {
    const rows = [
      { numRows: 1, ms: 14 },
      { numRows: 2, ms: 19 },
      { numRows: 8, ms: 37 },
      { numRows: 32, ms: 147 },
    ];
    const policy = onDevice({ passes: rows, perToken: [], treeShare: 0 });
    const plain = { ...PLAIN, numSequences: 2, numLanes: 2, numRows: 2, numEmitted: 2, stepMs: 19 };
    const seen: number[] = [];
    let limits = policy.limits(2, 0);
    for (let i = 0; i < 20; i++) {
      seen.push(1 + limits.numLookaheadNodes);
      // Trees take what start-up said, and drafting a little.
      const [numRows, stepMs] = [2 + 2 * limits.numLookaheadNodes, 16 + 4.5 * limits.numLookaheadNodes * 2];
      policy.observe(limits === NO_TREES ? plain : { ...plain, limits, numRows, stepMs });
      limits = policy.limits(2, 0);
    }
    const [first = 1] = seen.slice(4);
    expect(seen.slice(0, 12)).toEqual([1, 1, 1, 1, ...Array.from({ length: 8 }, () => first)]);
    expect(first).toBeGreaterThan(1);
  });

  test("drafters that are long in catching up: looks are as few as they are dear", () => {
    for (const numStreams of [8, 16]) {
      const { plain } = fixedRates(SLOW_TO_CATCH_UP, measuredBy, numStreams);
      const run = { load: () => numStreams, numSteps: 1500, warmUp: 300 };
      const rates = Array.from(
        { length: 6 },
        (_, seed) => simulate(SLOW_TO_CATCH_UP, measuredBy, { ...run, seed }).rate,
      );
      expect(mean(rates) / plain).toBeGreaterThan(0.985);
    }
  });

  test("where it costs little to begin anew, a look at plain decoding ends when it has told what it can", () => {
    const [software] = WORLDS;
    if (software === undefined) expect.fail();
    const world = { ...software, startFactor: 1, levelMs: () => 3 };
    const { plain, best } = fixedRates(world, measuredBy, 2);
    expect(best / plain).toBeLessThan(1.07);
    const run = { load: () => 2, numSteps: 3000, warmUp: 500 };
    const shares = Array.from({ length: 6 }, (_, seed) => simulate(world, measuredBy, { ...run, seed }).draftShare);
    expect(mean(shares)).toBeGreaterThan(0.93);
  });

  test("contexts that grow: what they cost is known from start-up, before a step has shown it", () => {
    // Rows cost next to nothing at first, so that trees pay. Then all of them do what a tree's rows do, or read keys together.
    const sizeAt = (context: number, treeShare: number) => {
      const passes = {
        passes: [
          { numRows: 1, ms: 10 },
          { numRows: 64, ms: 11 },
        ],
        perToken: passesOf(0.01),
        treeShare,
      };
      const policy = onDevice(passes);
      const numSequences = 4;
      for (let i = 0; i < 4; i++) {
        expect(policy.limits(numSequences, context)).toEqual(NO_TREES);
        policy.observe({
          ...PLAIN,
          numSequences,
          numLanes: numSequences,
          context,
          numRows: 4,
          numEmitted: 4,
          stepMs: 10 + context * 0.04,
        });
      }
      policy.limits(numSequences, context);
      const { plain = 0, trees = 0 } = policy.state.expected ?? {};
      return trees / plain;
    };
    expect(sizeAt(0, 1)).toBeGreaterThan(1.5);
    expect(sizeAt(100_000, 0)).toBeGreaterThan(1.5);
    expect(sizeAt(100_000, 1)).toBeLessThan(1.2);
  });

  test("a look is had even where steps of what was in use are still under way, and where it is expected to lose", () => {
    const policy = onDevice({ passes: passesOf(10), perToken: [], treeShare: 0 });
    const plain = { ...PLAIN, numSequences: 16, numLanes: 16, numRows: 16, numEmitted: 16, stepMs: 160 };
    let numLooks = 0;
    policy.limits(16, 0);
    for (let i = 0; i < 15_000 && numLooks < 2; i++) {
      policy.observe(plain);
      if (policy.next(NO_TREES)) continue;
      // Two were in flight when it was decided.
      for (let late = 0; late < 2; late++) policy.observe(plain);
      let limits = policy.limits(16, 0);
      expect(limits.numLookaheadNodes).toBeGreaterThan(0);
      numLooks++;
      for (let own = 0; own < 40 && limits.numLookaheadNodes > 0; own++) {
        const numRows = 16 * (1 + limits.numLookaheadNodes);
        policy.observe({ ...plain, limits, numRows, stepMs: 30 * numRows, isSteady: own > 1 });
        limits = policy.next(limits) ?? policy.limits(16, 0);
      }
    }
    expect(numLooks).toBe(2);
  });

  test("trees that the host has to draft, as the drafter lacks blocks, count with what their steps take", () => {
    const policy = onDevice({
      passes: [1, 512].map((numRows) => ({ numRows, ms: 10 + numRows / 512 })),
      perToken: [],
      treeShare: 0,
    });
    const plain = { ...PLAIN, numSequences: 16, numLanes: 16, numRows: 16, numEmitted: 16, stepMs: 10 };
    const isTree: boolean[] = [];
    for (let i = 0; i < 2000; i++) {
      const limits = policy.limits(16, 0);
      const numNodes = 1 + limits.numLookaheadNodes;
      isTree.push(numNodes > 1);
      if (numNodes === 1) policy.observe(plain);
      else policy.observe({ ...plain, limits, numRows: 16 * numNodes, onDevice: false, draftMs: 80, stepMs: 200 });
    }
    expect(isTree.slice(0, 1000)).toContain(true);
    expect(isTree.slice(1000).filter(Boolean).length).toBeLessThan(100);
  });

  test("drafting stops when nothing is accepted any more, and comes back with what is", () => {
    const [, world] = WORLDS;
    if (world === undefined) expect.fail();
    const phase = (step: number) => (step < 1000 ? "good" : step < 5000 ? "bad" : "good");
    const changing = { ...world, quality: (step: number) => (phase(step) === "good" ? 0.8 : 0) };
    const shares = [1000, 2500, 5000, 18_000].map((numSteps, i) => {
      const warmUp = [500, 1500, 3000, 16_500][i] ?? 0;
      const run = { load: () => 32, numSteps, warmUp };
      const numSeeds = i === 0 ? 20 : 6;
      return mean(
        Array.from({ length: numSeeds }, (_, seed) => simulate(changing, new Map(), { ...run, seed }).draftShare),
      );
    });
    const [good = 0, justBad = 1, bad = 1, goodAgain = 0] = shares;
    expect(good).toBeGreaterThan(0.95);
    expect(justBad).toBeLessThan(0.1);
    expect(bad).toBeLessThan(0.1);
    expect(bad).toBeGreaterThan(0);
    // Trees gain a tenth here, so that they are looked at every five thousand steps.
    expect(goodAgain).toBeGreaterThan(0.5);
  });

  test("a load that changes all the time: nearly as good as if every load had its own best size", () => {
    const ratios = WORLDS.slice(0, 3).map((world) => {
      const load = (step: number) => LOADS[Math.floor(step / 40) % LOADS.length] ?? 1;
      const run = { load, numSteps: 1680, warmUp: 960 };
      // One by one they differ by a twentieth.
      const rates = Array.from({ length: 30 }, (_, seed) => simulate(world, measuredBy, { ...run, seed }).rate);
      let [tokens, ms] = [0, 0];
      for (let step = 960; step < 1680; step++) {
        const best = bestOf(world, load(step));
        // A step of every load counts as often as the policy makes one.
        tokens += best.tokens;
        ms += best.ms;
      }
      return mean(rates) / (tokens / ms);
    });
    expect(Math.min(...ratios), ratios.join(" ")).toBeGreaterThan(0.9);
    expect(mean(ratios)).toBeGreaterThan(0.93);
  });

  test("what is predicted is what is observed, whatever the drafter says of itself", () => {
    const [world] = WORLDS.slice(1, 2);
    if (world === undefined) expect.fail();
    for (const overconfidence of [0.9, 1.3, 2]) {
      const run = { load: () => 8, numSteps: 400, warmUp: 0 };
      const errors = [5, 6, 7].map(
        (seed) => simulate({ ...world, overconfidence }, measuredBy, { ...run, seed }).calibrationError,
      );
      expect(mean(errors)).toBeLessThan(0.03);
    }
  });

  test("what it expects of plain decoding and of the best trees is what they have", () => {
    for (const world of WORLDS.filter(({ swing, draftsOnDevice }) => swing === 0 && draftsOnDevice)) {
      for (const numStreams of [1, 8, 32]) {
        const run = { load: () => numStreams, numSteps: 1500, warmUp: 0 };
        const expected = [1, 2, 3].map((seed) => simulate(world, measuredBy, { ...run, seed }).expected);
        const errorOf = (way: "plain" | "trees", rate: number) =>
          Math.abs(Math.log(mean(expected.map((rates) => rates?.[way] ?? 0)) / 1000 / rate));
        expect(errorOf("plain", fixedRates(world, measuredBy, numStreams).plain)).toBeLessThan(0.2);
        expect(errorOf("trees", bestFixed(world, numStreams))).toBeLessThan(0.2);
      }
    }
  });

  /** The size that is best by one sample, at its worth in the other. */
  function bestOf(world: World, numStreams: number): { readonly tokens: number; readonly ms: number } {
    const plain = { tokens: numStreams, ms: world.plainShare * world.passMs(numStreams) };
    const all = [...measuredBy].map(([key, length]) => {
      const [size = 0, depth = 0] = key.split(" ").map(Number);
      return {
        tokens: numStreams * length,
        ms: world.passMs(numStreams * size) + depth * world.levelMs(numStreams),
      };
    });
    return [plain, ...all].reduce((best, one) => (one.tokens / one.ms > best.tokens / best.ms ? one : best));
  }

  function bestFixed(world: World, numStreams: number): number {
    const rateOf = (key: string, length: number) => fixedRates(world, new Map([[key, length]]), numStreams).best;
    const [best = ""] = [...chosenBy].sort((a, b) => rateOf(...b) - rateOf(...a))[0] ?? [];
    return rateOf(best, measuredBy.get(best) ?? 0);
  }
});

/** A plain step on the device, but for its load and its time. */
const PLAIN = {
  ...{ context: 0, limits: NO_TREES, onDevice: true, isSteady: true, hasPrompt: false },
  ...{ isLast: false, catchesUp: false, draftMs: 0, drafts: [] },
};

/** Of an engine all of whose steady steps run there. */
function onDevice(passes: PassTable): AdaptiveTrees {
  const sizes = { maxNodes: MAX_NODES, maxDepth: MAX_DEPTH, tokenBudget: 512, draftRows: 3 };
  return new AdaptiveTrees({ ...sizes, passes, plainOnDevice: true, draftsOnDevice: true });
}

function passesOf(msPerRow: number) {
  return [1, 2, 64].map((numRows) => ({ numRows, ms: msPerRow * numRows }));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Trees depend on the drafter alone, which is the same in all worlds. */
function anyWorld(): World {
  const [world] = WORLDS;
  if (world === undefined) throw new Error("no world");
  return world;
}
