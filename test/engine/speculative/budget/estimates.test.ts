import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AcceptanceTable } from "../../../../engine/speculative/budget/acceptance-table.ts";
import { Calibration } from "../../../../engine/speculative/budget/calibration.ts";
import { DepthFactors } from "../../../../engine/speculative/budget/depth-factors.ts";
import { SequoiaTrees, ShapedTrees } from "../../../../engine/speculative/budget/static-trees.ts";
import { TextShift } from "../../../../engine/speculative/budget/text-shift.ts";
import { FixedTrees } from "../../../../engine/speculative/budget/tree-policy.ts";
import { judged } from "../../../../engine/speculative/budget/verified-draft.ts";
import { type DraftTree, survivals } from "../../../../engine/speculative/draft-tree.ts";
import { regularShape } from "../../../../engine/speculative/tree-shape.ts";
import { walkTree } from "../../../../engine/speculative/walk.ts";
import { Random } from "../../../support/random.ts";
import { draftTrees } from "../trees.ts";

/** Any tree, with probabilities, and what the target samples at each node. */
const walked = fc
  .tuple(draftTrees(3, 12), fc.array(fc.nat(2), { minLength: 12, maxLength: 12 }), fc.integer())
  .map(([tree, sampled, seed]) => {
    const random = new Random(seed);
    const probs = tree.tokenIds.map((_, node) => (node === 0 ? 1 : random.next()));
    const whole: DraftTree = { ...tree, probs };
    return { tree: whole, sampled };
  });

test("Sequoia's trees on the device: steps go on until there is another shape", () => {
  const passes = { passes: [1, 64].map((numRows) => ({ numRows, ms: 10 + numRows / 64 })), perToken: [], treeShare: 0 };
  const policy = new SequoiaTrees({ maxNodes: 8, maxDepth: 3, topK: 2, passes, draftsOnDevice: true });
  const before = policy.shape;
  const limits = policy.limits();
  const numNodes = before.parents.length;
  // Whatever is proposed below the root is wrong: nothing but the smallest tree is worth its time.
  const tree: DraftTree = { tokenIds: [1, 2, 3], parents: [-1, 0, 0], probs: [1, 0.9, 0.1], depths: [0, 1, 1] };
  const step = {
    ...{
      numSequences: 1,
      numLanes: 1,
      context: 9,
      numRows: numNodes,
      numEmitted: 1,
      limits,
      onDevice: true,
      isSteady: true,
    },
    ...{
      hasPrompt: false,
      stepMs: 12,
      isLast: false,
      catchesUp: false,
      draftMs: 0,
      drafts: [{ tree, tokenIds: [4], maxNodes: numNodes, maxDepth: 3 }],
    },
  };
  let numSteps = 0;
  for (; policy.next(limits) && numSteps < 200; numSteps++) policy.observe(step);
  expect(numSteps).toBeLessThan(200);
  expect(policy.shape).not.toEqual(before);
  const now = policy.limits();
  expect(policy.next(now)).toBe(now);
});

test("trees of fixed size and shape tell how far estimates are off", () => {
  const tree: DraftTree = { tokenIds: [1, 2], parents: [-1, 0], probs: [1, 0.9], depths: [0, 1] };
  const passes = { passes: [{ numRows: 1, ms: 1 }], perToken: [], treeShare: 0 };
  for (const policy of [
    new FixedTrees({ numLookaheadNodes: 1, maxDraftDepth: 1 }),
    new ShapedTrees(regularShape([1])),
    new SequoiaTrees({ maxNodes: 2, maxDepth: 1, topK: 1, passes, draftsOnDevice: false }),
  ]) {
    expect(policy.state.calibrationError).toBe(0);
    policy.observe({
      ...{
        numSequences: 1,
        numLanes: 1,
        context: 9,
        numRows: 2,
        numEmitted: 1,
        limits: policy.limits(),
        onDevice: false,
        isSteady: true,
        hasPrompt: false,
      },
      ...{
        stepMs: 1,
        isLast: false,
        catchesUp: false,
        draftMs: 0,
        drafts: [{ tree, tokenIds: [3], maxNodes: 2, maxDepth: 1 }],
      },
    });
    expect(policy.state.calibrationError).toBeCloseTo(0.9, 10);
    expect(policy.state.limits).toEqual({ numLookaheadNodes: 1, maxDraftDepth: 1 });
  }
});

describe("AcceptanceTable", () => {
  test("from one kind of tree knows what every smaller one would get", () => {
    fc.assert(
      fc.property(walked, ({ tree }) => {
        const table = new AcceptanceTable(12, 11);
        // As many are accepted as is estimated; as often as it takes for what is thought beforehand not to count.
        const outcomes = survivals(tree);
        const draft = { tree, outcomes, tested: [], tokenIds: [], maxNodes: 13, maxDepth: 11 };
        for (let i = 0; i < 400; i++) table.observe(draft);
        const survival = survivals(tree);
        for (const depth of [1, 2, 5]) {
          const order = [...tree.tokenIds.keys()]
            .filter((node) => (tree.depths[node] ?? 0) <= depth)
            .sort((a, b) => (survival[b] ?? 0) - (survival[a] ?? 0) || a - b);
          for (const numNodes of [2, 3, 6, 12]) {
            const mean = order.slice(1, numNodes).reduce((sum, node) => sum + (survival[node] ?? 0), 0);
            expect(Math.abs(table.expected(numNodes, depth) - mean)).toBeLessThan(0.15);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test("where all trees get less accepted than is estimated, it is less of every size", () => {
    const tree: DraftTree = {
      tokenIds: [0, 1, 2],
      parents: [-1, 0, 1],
      probs: [1, 0.8, 0.8],
      depths: [0, 1, 2],
    };
    const table = new AcceptanceTable(3, 2);
    const draft = { tree, outcomes: [1, 0.4, 0.32], tested: [], tokenIds: [], maxNodes: 3, maxDepth: 2 };
    for (let i = 0; i < 500; i++) table.observe(draft);
    expect(table.expected(2, 1)).toBeCloseTo(0.4, 1);
    expect(table.expected(3, 2)).toBeCloseTo(0.72, 1);
  });

  test("what was seen long ago gives way sooner", () => {
    const chain: DraftTree = { tokenIds: [0, 1], parents: [-1, 0], probs: [1, 0.5], depths: [0, 1] };
    const observe = (table: AcceptanceTable, accepted: boolean, times: number) => {
      for (let i = 0; i < times; i++) {
        table.observe(judged({ tree: chain, tokenIds: accepted ? [1, 2] : [2], maxNodes: 2, maxDepth: 1 }));
      }
    };
    const [young, aged] = [new AcceptanceTable(2, 1), new AcceptanceTable(2, 1)];
    for (const table of [young, aged]) observe(table, true, 400);
    expect(young.variance).toBeLessThan(0.003);
    for (let i = 0; i < 3000; i++) aged.age();
    expect(aged.variance).toBeGreaterThan(0.05);
    for (const table of [young, aged]) observe(table, false, 40);
    expect(young.expected(2, 1)).toBeGreaterThan(0.6);
    expect(aged.expected(2, 1)).toBeLessThan(0.2);
  });
});

/** A text is easy or hard as a whole: how likely each token of a chain is right, whatever the drafter says of it. */
function chainOf(random: Random, depth: number, isEasy: boolean, said: number) {
  const tree: DraftTree = {
    tokenIds: Array.from({ length: depth + 1 }, (_, node) => node),
    parents: Array.from({ length: depth + 1 }, (_, node) => node - 1),
    probs: Array.from({ length: depth + 1 }, (_, node) => (node === 0 ? 1 : said)),
    depths: Array.from({ length: depth + 1 }, (_, node) => node),
  };
  let numRight = 0;
  while (numRight < depth && random.next() < (isEasy ? 0.9 : 0.3)) numRight++;
  const tokenIds = [...tree.tokenIds.slice(1, 1 + numRight), 99];
  return judged({ tree, tokenIds, maxNodes: depth + 1, maxDepth: depth });
}

describe("DepthFactors", () => {
  test("finds by how much more is accepted deep down than single tokens let expect", () => {
    const random = new Random(2);
    const factors = new DepthFactors(4);
    for (let i = 0; i < 4000; i++) {
      const { tree, outcomes } = chainOf(random, 3, random.next() < 0.5, 0.6);
      factors.observe(tree.depths, survivals(tree), outcomes);
    }
    const [root, ...below] = factors.all;
    expect(root).toBe(1);
    for (const depth of [1, 2, 3]) {
      const truth = (0.5 * 0.9 ** depth + 0.5 * 0.3 ** depth) / 0.6 ** depth;
      expect(Math.abs((below[depth - 1] ?? 0) - truth)).toBeLessThan(0.08);
    }
    // Where nothing was seen, what is a level above.
    expect(below[3]).toBeCloseTo(below[2] ?? 0, 12);
  });

  test("is never below nothing, and finite, whatever was seen", () => {
    const seen = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 1)), {
      maxLength: 50,
    });
    fc.assert(
      fc.property(seen, (nodes) => {
        const factors = new DepthFactors(3);
        for (const [survival, outcome] of nodes)
          factors.observe([0, 1, 2, 3], [1, survival, survival, 0], [1, outcome, 0, 0]);
        for (const factor of factors.all) expect(factor).toBeGreaterThanOrEqual(0);
        expect(factors.all.every(Number.isFinite)).toBe(true);
      }),
    );
  });
});

describe("TextShift", () => {
  test("tells how much easier the texts of deep trees were", () => {
    const shift = new TextShift(3);
    const see = (survivals: readonly number[], times: number) => {
      for (let i = 0; i < times; i++) {
        for (let depth = 1; depth <= survivals.length; depth++)
          shift.observe(depth, survivals.slice(0, depth), survivals.slice(0, depth - 1), false, 1000);
      }
    };
    // Chains of two of all texts, then some of three where texts are easy.
    see([0.5, 0.2], 900);
    see([0.9, 0.8, 0.7], 100);
    const meanOfBestTwo = 0.9 * (0.5 + 0.2) + 0.1 * (0.9 + 0.8);
    expect(shift.at(1)).toBe(0);
    expect(shift.at(2)).toBeCloseTo(0, 2);
    expect(shift.at(3)).toBeCloseTo((100 / 104) * (meanOfBestTwo - 1.7), 2);
  });

  test("trees that are too small to have the best nodes say nothing, unless there were no others", () => {
    const [small, whole] = [new TextShift(2), new TextShift(2)];
    for (const [shift, isWhole] of [
      [small, false],
      [whole, true],
    ] as const) {
      for (let i = 0; i < 100; i++) shift.observe(1, [0.8], [], false, 1000);
      for (let i = 0; i < 100; i++) shift.observe(2, [0.5], [], isWhole, 1000);
    }
    expect(small.at(2)).toBe(0);
    expect(whole.at(2)).toBeCloseTo((100 / 104) * 0.8, 6);
  });
});

test("what deep trees get accepted is known better than from the few easy texts that they were drafted of", () => {
  const random = new Random(1);
  const table = new AcceptanceTable(5, 4);
  const see = (depth: number, isEasy: boolean) => table.observe(chainOf(random, depth, isEasy, isEasy ? 0.9 : 0.3));
  for (let i = 0; i < 400; i++) see(2, i % 2 === 0);
  for (let i = 0; i < 40; i++) see(4, true);
  for (let i = 0; i < 400; i++) see(2, i % 2 === 0);
  const sumOf = (prob: number) => [1, 2, 3, 4].reduce((sum, depth) => sum + prob ** depth, 0);
  const [easy, all] = [sumOf(0.9), (sumOf(0.9) + sumOf(0.3)) / 2];
  // The best two nodes tell half of it.
  expect(table.expected(5, 4) - all).toBeLessThan(0.6 * (easy - all));
  expect(table.expected(5, 4)).toBeGreaterThan(all);
});

describe("verified drafts", () => {
  // 0 → 1 → 2 → 3, of which only 0 and 1 were verified.
  const tree: DraftTree = {
    tokenIds: [9, 1, 2, 3],
    parents: [-1, 0, 1, 2],
    probs: [1, 0.9, 0.8, 0.5],
    depths: [0, 1, 2, 3],
  };
  const draft = { tree, kept: new Set([0, 1]), maxNodes: 4, maxDepth: 3 };

  test("a bonus token tells of the node that was cut; below it the estimate stands in", () => {
    expect(judged({ ...draft, tokenIds: [1, 2] }).outcomes).toEqual([1, 1, 1, 0.5]);
    expect(judged({ ...draft, tokenIds: [1, 2] }).tested).toEqual([
      { node: 1, accepted: true },
      { node: 2, accepted: true },
    ]);
  });

  test("another bonus token rules out what was cut", () => {
    expect(judged({ ...draft, tokenIds: [1, 5] }).outcomes).toEqual([1, 1, 0, 0]);
    expect(judged({ ...draft, tokenIds: [5] }).tested).toEqual([{ node: 1, accepted: false }]);
  });
});

describe("Calibration", () => {
  /** A first choice that is right in `truth` of the cases, and said to be right in `said`. */
  function observeMany(calibration: Calibration, said: number, truth: number, proposers: readonly string[]): DraftTree {
    const random = new Random(1);
    const tree = { tokenIds: [0, 1], parents: [-1, 0], probs: [1, said], depths: [0, 1], proposers: [[], proposers] };
    for (let i = 0; i < 1500; i++) {
      calibration.observe(judged({ tree, tokenIds: [random.next() < truth ? 1 : 2], maxNodes: 2, maxDepth: 1 }));
    }
    return tree;
  }

  test("learns each drafter's own error", () => {
    const calibration = new Calibration();
    const modest = observeMany(calibration, 0.55, 0.85, ["modest"]);
    const boaster = observeMany(calibration, 0.55, 0.2, ["boaster"]);
    expect(calibration.calibrate(modest).probs[1]).toBeCloseTo(0.85, 1);
    expect(calibration.calibrate(boaster).probs[1]).toBeCloseTo(0.2, 1);
    expect(calibration.error).toBeLessThan(0.05);
    for (const { predicted, observed, count } of calibration.reliability) {
      if (count > 200) expect(Math.abs(predicted - observed)).toBeLessThan(0.06);
    }
  });

  test("keeps survival from rising along a path, and probabilities within bounds", () => {
    fc.assert(
      fc.property(fc.array(walked, { minLength: 1, maxLength: 20 }), (all) => {
        const calibration = new Calibration();
        for (const { tree, sampled } of all) {
          const { tokenIds } = walkTree(tree, sampled);
          calibration.observe(judged({ tree, tokenIds, maxNodes: 13, maxDepth: 11 }));
          const calibrated = calibration.calibrate(tree);
          const survival = survivals(calibrated);
          for (const [node, parent] of tree.parents.entries()) {
            expect(calibrated.probs[node]).toBeGreaterThanOrEqual(0);
            expect(survival[node]).toBeLessThanOrEqual(survival[parent] ?? 1);
          }
        }
        expect(calibration.error).toBeLessThanOrEqual(1);
      }),
      { numRuns: 40 },
    );
  });
});
