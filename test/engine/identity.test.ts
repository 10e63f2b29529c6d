import { describe, expect, it } from "vitest";
import {
  allPairs,
  BATCH_SIZES,
  coveringPairs,
  type IdentityPair,
  type PairResult,
  runPairs,
  SAMPLING_CASES,
  SEEDS,
  TREE_KINDS,
} from "../../bench/identity.ts";
import { referencePrompts } from "../../bench/prompts.ts";
import type { DrafterKind } from "../../engine/engine-options.ts";
import { ADAPTER } from "../support/gpu.ts";

/** Every drafter, tree, batch, sampling and seed with each other: hours on a software adapter. */
const ALL = process.env.CANOPY_IDENTITY === "all";
const DRAFTERS: readonly DrafterKind[] = ALL ? ["draft", "eagle", "glide", "medusa", "suffix"] : ["draft", "suffix"];
const PAIRS = ALL ? allPairs(DRAFTERS) : coveringPairs(DRAFTERS);
const MAX_TOKENS = ALL ? 128 : 56;
const LIMIT_MS = ALL ? 86_400_000 : 900_000;

it("the pairs cover every value, each drafter with every tree, batch and way to sample", () => {
  const values = (of: readonly IdentityPair[], pick: (pair: IdentityPair) => unknown) => new Set(of.map(pick));
  for (const drafter of DRAFTERS) {
    const mine = PAIRS.filter((pair) => pair.drafter === drafter);
    expect(values(mine, ({ seed }) => seed)).toEqual(new Set(SEEDS));
    expect(values(mine, ({ trees }) => trees)).toEqual(new Set(TREE_KINDS));
    expect(values(mine, ({ batchSize }) => batchSize)).toEqual(new Set(BATCH_SIZES));
    expect(values(mine, ({ sampling }) => sampling)).toEqual(new Set(SAMPLING_CASES));
  }
});

describe("the same tokens with speculation and without", () => {
  it(
    "in a set of pairs that covers every sampling, seed, batch, tree and drafter",
    async () => {
      const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);
      const options = { model: "sapling-14m", adapter: ADAPTER, checkInvariants: true } as const;
      const results: PairResult[] = [];
      for await (const result of runPairs(options, PAIRS, prompts, MAX_TOKENS)) results.push(result);
      const total = (pick: (result: PairResult) => number) => results.reduce((sum, result) => sum + pick(result), 0);
      const [numTokens, numAccepted] = [total((r) => r.numTokens), total((r) => r.numAccepted)];
      console.log(`${results.length} pairs, ${numTokens} tokens, of which ${numAccepted} were drafted and accepted`);
      expect(results.filter(({ numDifferent }) => numDifferent > 0)).toEqual([]);
      expect(numTokens).toBeGreaterThan(1_800);
      for (const drafter of DRAFTERS) {
        const mine = results.filter(({ pair }) => pair.drafter === drafter);
        expect(
          mine.some((result) => result.numAccepted > 0),
          `${drafter} accepted`,
        ).toBe(true);
        expect(
          mine.some((result) => result.numRejected > 0),
          `${drafter} rejected`,
        ).toBe(true);
      }
    },
    LIMIT_MS,
  );
});
