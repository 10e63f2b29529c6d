import type { DrafterChoice } from "../../engine/engine-options.ts";
import { leaveSizesToChance } from "../chance-sizes.ts";
import { sum } from "../generate.ts";
import { allPairs, type PairResult, runPairs, SEEDS } from "../identity.ts";
import { defineSuite, positiveInteger } from "../suite.ts";
import { ENGINE_OPTIONS, engineSettings } from "./engine-settings.ts";

/** Tried beside each drafter alone. */
const UNIONS: readonly DrafterChoice[] = [
  ["draft", "suffix"],
  ["eagle", "suffix"],
  ["draft", "medusa"],
  ["draft", "eagle", "glide", "medusa", "suffix"],
];

export const identity = defineSuite(
  "the same requests with speculation and without: every drafter, kind of tree, batch size, sampling and seed, with memory for all sequences and for one or two; exits with 1 if one token differs",
  {
    ...ENGINE_OPTIONS,
    seeds: { type: "string", value: "N", default: String(SEEDS.length), help: "of 5 seeds" },
    "any-size": {
      type: "boolean",
      help: "trees of fixed size have any size up to theirs, by chance, in each step of a run on the device but its first",
    },
  },
  async (values, print) => {
    const { engine, drafters, prompts, maxTokens } = engineSettings(values);
    if (values["any-size"]) leaveSizesToChance(1);
    const unions = values.drafters === undefined ? UNIONS : [];
    const choices = [...drafters.filter((drafter) => drafter !== "none"), ...unions];
    const pairs = allPairs(choices, SEEDS.slice(0, positiveInteger(values.seeds)));
    const results: PairResult[] = [];
    for await (const result of runPairs(engine, pairs, prompts, maxTokens)) {
      results.push(result);
      print(formatPair(result));
    }
    const summary = {
      numPairs: results.length,
      numTokens: sum(results, (result) => result.numTokens),
      numDifferent: sum(results, (result) => result.numDifferent),
      numAccepted: sum(results, (result) => result.numAccepted),
      numRejected: sum(results, (result) => result.numRejected),
      numPreemptions: sum(results, (result) => result.numPreemptions),
    };
    print(JSON.stringify(summary, null, 2));
    const { numDifferent, numAccepted, numRejected, numPreemptions } = summary;
    const proves = numDifferent === 0 && numAccepted > 0 && numRejected > 0 && numPreemptions > 0;
    process.exitCode = proves ? 0 : 1;
    return { suite: "identity", summary, results };
  },
);

function formatPair(result: PairResult): string {
  const { drafter, trees, memory, batchSize, sampling, seed } = result.pair;
  const name = `${drafter}, ${trees.name}, ${memory.name}, batch ${batchSize}, ${sampling.name}, seed ${seed}`;
  const drafts = `+${result.numAccepted} −${result.numRejected}`;
  return `${name}: ${result.numTokens} tokens, ${result.numDifferent} differ (${drafts}, ${result.numPreemptions} preemptions)`;
}
