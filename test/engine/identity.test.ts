import { rmSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import {
  allPairs,
  BATCH_SIZES,
  coveringPairs,
  type IdentityPair,
  MEMORY_CASES,
  type PairResult,
  runPairs,
  SAMPLING_CASES,
  SEEDS,
  TREE_KINDS,
} from "../../bench/identity.ts";
import { referencePrompts } from "../../bench/prompts.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { ADAPTER } from "../support/gpu.ts";
import { coarseDraftFolder } from "./coarse-draft.ts";

/** Every drafter, tree, batch, sampling and seed with each other: hours on a software adapter. */
const ALL = process.env.CANOPY_IDENTITY === "all";
const LIMIT_MS = ALL ? 86_400_000 : 900_000;
const COARSE = coarseDraftFolder();
afterAll(() => rmSync(COARSE, { recursive: true }));

const DRAFTERS = [COARSE, "suffix"] as const;
const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);

it("the pairs cover every value, each drafter with every tree, batch and way to sample", () => {
  const pairs = coveringPairs(DRAFTERS);
  const values = (of: readonly IdentityPair[], pick: (pair: IdentityPair) => unknown) => new Set(of.map(pick));
  for (const drafter of DRAFTERS) {
    const mine = pairs.filter((pair) => pair.drafter === drafter);
    expect(values(mine, ({ seed }) => seed)).toEqual(new Set(SEEDS));
    expect(values(mine, ({ trees }) => trees)).toEqual(new Set(TREE_KINDS));
    expect(values(mine, ({ memory }) => memory)).toEqual(new Set(MEMORY_CASES));
    expect(values(mine, ({ batchSize }) => batchSize)).toEqual(new Set(BATCH_SIZES));
    expect(values(mine, ({ sampling }) => sampling)).toEqual(new Set(SAMPLING_CASES));
  }
});

describe("the same tokens with speculation and without", () => {
  /** Each drafter's drafts are accepted somewhere and rejected somewhere. @returns the number of tokens */
  async function expectSame(model: EngineOptions["model"], pairs: readonly IdentityPair[], maxTokens: number) {
    const options = { model, adapter: ADAPTER, maxModelLen: 256, checkInvariants: true } as const;
    const results: PairResult[] = [];
    for await (const result of runPairs(options, pairs, prompts, maxTokens)) results.push(result);
    const total = (pick: (result: PairResult) => number) => results.reduce((sum, result) => sum + pick(result), 0);
    const [numTokens, numAccepted] = [total((r) => r.numTokens), total((r) => r.numAccepted)];
    console.log(`${results.length} pairs, ${numTokens} tokens, of which ${numAccepted} were drafted and accepted`);
    expect(results.filter(({ numDifferent }) => numDifferent > 0)).toEqual([]);
    for (const drafter of new Set(pairs.map((pair) => pair.drafter))) {
      const mine = results.filter(({ pair }) => pair.drafter === drafter);
      expect(
        mine.some((result) => result.numAccepted > 0),
        `${drafter} accepted`,
      ).toBe(true);
      expect(
        mine.some((result) => result.numRejected > 0),
        `${drafter} rejected`,
      ).toBe(true);
      const tight = mine.filter(({ pair }) => pair.memory.numSequences !== undefined && pair.batchSize > 1);
      const preempted = mine.filter(({ numPreemptions }) => numPreemptions > 0);
      const memories = (some: readonly PairResult[]) => new Set(some.map(({ pair }) => pair.memory.name));
      expect(memories(preempted), `${drafter} preempted`).toEqual(memories(tight));
    }
    return numTokens;
  }

  it(
    "in a set of pairs that covers every sampling, seed, batch, tree, memory and drafter",
    async () => {
      expect(await expectSame("sapling-2m-draft", coveringPairs(DRAFTERS), 48)).toBeGreaterThan(1_900);
    },
    LIMIT_MS,
  );

  // Other trees of this model, shapes among them, and its drafters: tree-kinds.test.ts, attached-identity.test.ts.
  it(
    ALL ? "of the large model, every pair" : "of the large model, sampled, in a batch of three",
    async () => {
      const pairs = ALL
        ? allPairs(["draft", "eagle", "glide", "medusa", "suffix"])
        : coveringPairs(["draft"]).filter(
            ({ batchSize, trees }) => batchSize === 3 && trees.options.tree === undefined,
          );
      expect(pairs.length).toBeGreaterThan(0);
      expect(await expectSame("sapling-14m", pairs, ALL ? 128 : 40)).toBeGreaterThan(100);
    },
    LIMIT_MS,
  );
});
