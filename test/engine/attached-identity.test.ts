import { rmSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { type IdentityPair, runPairs, SAMPLING_CASES } from "../../bench/identity.ts";
import { frequentTokens, referencePrompts } from "../../bench/prompts.ts";
import { resolveModel } from "../../engine/model/bundled.ts";
import { ATTACHED_KINDS } from "../../engine/model/drafter-files.ts";
import { openModel } from "../../engine/model/open.ts";
import { ADAPTER } from "../support/gpu.ts";
import { randomEagle3Folder } from "./speculative/eagle3/random-drafter.ts";

const MAX_TOKENS = 32;
const { config, weights } = openModel(resolveModel("sapling-14m"));
weights.close();
const EAGLE3 = randomEagle3Folder(config, frequentTokens(24)) as `/${string}`;
const DRAFTERS = [...ATTACHED_KINDS, EAGLE3];
afterAll(() => rmSync(EAGLE3, { recursive: true }));

const dynamic = (treeNodes: number) => ({ name: `${treeNodes} nodes`, options: { treeNodes } });

/** Greedy with a batch of three, and one stream that samples. */
function pairsOf(drafter: IdentityPair["drafter"]): IdentityPair[] {
  const [greedy, warm] = SAMPLING_CASES;
  if (greedy === undefined || warm === undefined) throw new Error("no such case");
  return [
    { drafter, trees: dynamic(16), batchSize: 3, sampling: greedy, seed: 1 },
    { drafter, trees: dynamic(16), batchSize: 1, sampling: warm, seed: 2 },
  ];
}

test("drafters that read the target's features or cache give plain decoding's tokens, several streams at once", async () => {
  const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);
  const options = {
    model: "sapling-14m",
    adapter: ADAPTER,
    maxModelLen: 256,
    maxNumSeqs: 3,
    checkInvariants: true,
  } as const;
  for await (const result of runPairs(options, DRAFTERS.flatMap(pairsOf), prompts, MAX_TOKENS)) {
    const { pair, numTokens, numDifferent, numAccepted, numRejected } = result;
    expect([pair.drafter, pair.sampling.name, numDifferent]).toEqual([pair.drafter, pair.sampling.name, 0]);
    expect(numTokens).toBeGreaterThan(MAX_TOKENS / 2);
    expect(numAccepted, `${pair.drafter} accepted`).toBeGreaterThan(0);
    expect(numRejected, `${pair.drafter} rejected`).toBeGreaterThan(0);
  }
});

test("a preempted sequence drafts again, and its text stays the same", async () => {
  const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);
  // Three streams do not fit: one is computed again from its prompt while others go on.
  const options = {
    model: "sapling-14m",
    adapter: ADAPTER,
    maxModelLen: 128,
    maxNumSeqs: 3,
    numKvBlocks: 11,
    checkInvariants: true,
  } as const;
  const [greedy] = SAMPLING_CASES;
  if (greedy === undefined) throw new Error("no such case");
  const trees = dynamic(8);
  const pairs = ATTACHED_KINDS.map((drafter): IdentityPair => {
    return { drafter, trees, batchSize: 3, sampling: greedy, seed: 4 };
  });
  for await (const { pair, numDifferent, numAccepted } of runPairs(options, pairs, prompts, MAX_TOKENS)) {
    expect([pair.drafter, numDifferent]).toEqual([pair.drafter, 0]);
    expect(numAccepted).toBeGreaterThan(0);
  }
});
