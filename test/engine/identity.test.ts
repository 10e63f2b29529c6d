import { describe, expect, it } from "vitest";
import { coveringPairs, type PairResult, runPairs } from "../../bench/identity.ts";
import { referencePrompts } from "../../bench/prompts.ts";

const DRAFTERS = ["draft", "suffix"] as const;
const MAX_TOKENS = 112;

describe("the same tokens with speculation and without", () => {
  it("in a set of pairs that covers every sampling, seed, batch, tree and drafter", async () => {
    const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);
    const options = { model: "sapling-14m", adapter: "software" } as const;
    const results: PairResult[] = [];
    for await (const result of runPairs(options, coveringPairs(DRAFTERS), prompts, MAX_TOKENS)) results.push(result);
    const total = (pick: (result: PairResult) => number) => results.reduce((sum, result) => sum + pick(result), 0);
    const [numTokens, numAccepted] = [total((r) => r.numTokens), total((r) => r.numAccepted)];
    console.log(`${results.length} pairs, ${numTokens} tokens, of which ${numAccepted} were drafted and accepted`);
    expect(results.filter(({ numDifferent }) => numDifferent > 0)).toEqual([]);
    expect(numTokens).toBeGreaterThan(5_000);
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
  }, 900_000);
});
