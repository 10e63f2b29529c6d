import { beforeAll, describe, expect, it, vi } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import { processorOf } from "../../../engine/runner/logits-processor.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import { processedLogits } from "../../../kernels/reference/logits-processor.ts";
import { type Generated, generate } from "../../support/collect.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { openEngine } from "./open-engine.ts";

const test = useGpu();
const MAX_TOKENS = 22;
const prompts = referencePrompts().map(({ promptTokens }) => promptTokens.slice(0, 16));
/** The tokens that are most common in texts of this kind. */
const [first = 0, second = 0, third = 0] = byFrequency(prompts.flat());

const DRY = { multiplier: 8, base: 1.75, allowedLength: 1, breakers: [first] };

/** Every setting that needs more than a filter of the logits, greedy and sampled. */
const SETTINGS: Readonly<Record<string, Partial<SamplingParams>>> = {
  none: {},
  repetition: { repetitionPenalty: 1.4 },
  presence: { presencePenalty: 6 },
  frequency: { frequencyPenalty: 1.2, temperature: 0.8 },
  "all penalties": { repetitionPenalty: 1.2, presencePenalty: 0.5, frequencyPenalty: 0.4, temperature: 0.6, topP: 0.9 },
  "rewarded repetition": { presencePenalty: -1.5, frequencyPenalty: -0.5 },
  bias: {
    logitBias: [
      [first, 4],
      [second, -100],
      [third, 2],
    ],
  },
  dry: { dry: DRY },
  "dry, sampled": { dry: { ...DRY, range: 12 }, temperature: 0.7 },
  typical: { typicalP: 0.4, temperature: 1 },
  logprobs: { logprobs: 4, temperature: 0.9 },
  everything: {
    ...{ repetitionPenalty: 1.1, presencePenalty: 0.3, dry: DRY, logitBias: [[first, 2]], typicalP: 0.9, topK: 30 },
    ...{ temperature: 0.9, logprobs: 20, minTokens: 9 },
  },
};
const names = Object.keys(SETTINGS);
/** A beginning, how the model goes on, and the beginning again, so that there is something to repeat. */
let repeating: readonly (readonly number[])[];
const promptOf = (i: number) => repeating[i % 3] ?? [];
const paramsOf = (name: string, i: number): SamplingParams => ({
  ...{ ...GREEDY, seed: [i, 3], maxTokens: MAX_TOKENS - (i % 4) },
  ...SETTINGS[name],
});

function byFrequency(tokenIds: readonly number[]): readonly number[] {
  const counts = new Map<number, number>();
  for (const token of tokenIds) counts.set(token, (counts.get(token) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([token]) => token);
}

/** Every setting in one batch, as an engine of this kind has it. */
async function runAll(drafts: boolean, stepsInFlight: number, numBlocks = 80): Promise<readonly Generated[]> {
  const { engine, resident, blocks } = await openEngine(test.context(FAMILIES[0]), {
    drafts,
    stepsInFlight,
    numBlocks,
  });
  let numPreemptions = 0;
  engine.onStep((stats) => {
    numPreemptions += stats.numPreemptions;
  });
  const submit = resident && vi.spyOn(resident, "submit");
  const runs = await Promise.all(names.map((name, i) => generate(engine, promptOf(i), paramsOf(name, i))));
  engine.checkIntegrity();
  await engine.close();
  expect(blocks.usage).toBe(0);
  if (stepsInFlight > 0) expect(submit?.mock.calls.length).toBeGreaterThan(2);
  expect(numPreemptions > 0).toBe(numBlocks < 80);
  return runs;
}

/** Plain decoding by the host: what everything is compared with. */
let plain: readonly Generated[];
const plainOf = (name: string): Generated => plain[names.indexOf(name)] ?? expect.fail();

beforeAll(async () => {
  const { engine } = await openEngine(test.context(FAMILIES[0]), { drafts: false, stepsInFlight: 0 });
  repeating = await Promise.all(
    prompts.slice(0, 3).map(async (prompt) => {
      const { tokenIds } = await generate(engine, prompt, { ...GREEDY, maxTokens: 8 });
      return [...prompt, ...tokenIds, ...prompt];
    }),
  );
  await engine.close();
  plain = await runAll(false, 0);
});

describe("every setting gives the tokens and log-probabilities of plain decoding", () => {
  it.each([
    { drafts: true, stepsInFlight: 0, numBlocks: 80 },
    { drafts: false, stepsInFlight: 2, numBlocks: 80 },
    { drafts: true, stepsInFlight: 2, numBlocks: 80 },
    { drafts: true, stepsInFlight: 2, numBlocks: 12 },
  ])(
    "drafts: $drafts, steps in flight on the device: $stepsInFlight, $numBlocks blocks",
    async ({ drafts, stepsInFlight, numBlocks }) => {
      const runs = await runAll(drafts, stepsInFlight, numBlocks);
      for (const [i, name] of names.entries()) {
        expect(runs[i]?.tokenIds, name).toEqual(plainOf(name).tokenIds);
        expect(
          runs[i]?.outputs.flatMap(({ logprobs = [] }) => logprobs),
          name,
        ).toEqual(plainOf(name).outputs.flatMap(({ logprobs = [] }) => logprobs));
      }
      const numAccepted = runs.reduce((sum, run) => sum + run.numAccepted, 0);
      if (drafts) expect(numAccepted).toBeGreaterThan(20);
    },
  );

  it("each but log-probabilities changes the text", async () => {
    const { engine } = await openEngine(test.context(FAMILIES[0]), { drafts: true, stepsInFlight: 2 });
    const changed = names.filter((name) => name !== "none" && name !== "logprobs");
    const without = await Promise.all(
      changed.map((name) => {
        const { temperature, topP, topK, seed, maxTokens } = paramsOf(name, names.indexOf(name));
        return generate(engine, promptOf(names.indexOf(name)), { ...GREEDY, temperature, topP, topK, seed, maxTokens });
      }),
    );
    await engine.close();
    for (const [i, name] of changed.entries()) {
      expect(without[i]?.tokenIds, name).not.toEqual(plainOf(name).tokenIds);
    }
  });
});

describe("what the settings do, from the log-probabilities of the tokens", () => {
  /** Greedy cases of settings that do not look at a logit's sign, so that log-probabilities are as good as logits. */
  it.each<readonly [string, (plainIds: readonly number[]) => Partial<SamplingParams>]>([
    ["presence and frequency", () => ({ presencePenalty: 3, frequencyPenalty: 0.5 })],
    [
      "bias",
      ([, one = 0, , , other = 0]) => ({
        logitBias: [
          [one, -100],
          [first, 1],
          [other, -2],
        ],
      }),
    ],
    ["DRY", () => ({ dry: { ...DRY, breakers: [] } })],
    ["an end that may not come yet", (plainIds) => ({ minTokens: 6, stopTokenIds: plainIds.slice(0, 3) })],
  ])("%s: each token is the reference's best", async (_, settings) => {
    const { engine } = await openEngine(test.context(FAMILIES[0]), { drafts: true, stepsInFlight: 2 });
    const promptTokenIds = promptOf(0);
    const params = { ...GREEDY, maxTokens: 16, logprobs: 20, ...settings(plainOf("none").tokenIds) };
    const { tokenIds, outputs } = await generate(engine, promptTokenIds, params);
    await engine.close();
    const logprobs = outputs.flatMap((output) => output.logprobs ?? []);
    expect(logprobs).toHaveLength(tokenIds.length);
    let numChanged = 0;
    for (const [i, { top, logprob }] of logprobs.entries()) {
      const sequence = {
        tokenIds: [...promptTokenIds, ...tokenIds.slice(0, i)],
        numPromptTokens: promptTokenIds.length,
      };
      const raw = new Float64Array(engine.info.vocabSize).fill(-1000);
      for (const one of top) raw[one.tokenId] = one.logprob;
      const processor = processorOf(params, sequence);
      const wanted = processor ? processedLogits(raw, processor, []) : raw;
      const best = Math.max(...wanted.filter((value) => !Number.isNaN(value)));
      if (tokenIds[i] !== top[0]?.tokenId) numChanged++;
      // The reference is exact, the kernels' logits are f32.
      expect(wanted[tokenIds[i] ?? -1]).toBeGreaterThan(best - 1e-4);
      expect(top.find(({ tokenId }) => tokenId === tokenIds[i])?.logprob).toBe(logprob);
    }
    expect(numChanged).toBeGreaterThan(0);
  });

  it("log-probabilities are those of a distribution, best first, whatever was asked for beside", () => {
    for (const name of ["logprobs", "everything"]) {
      const { tokenIds, outputs } = plainOf(name);
      const logprobs = outputs.flatMap((output) => output.logprobs ?? []);
      expect(logprobs).toHaveLength(tokenIds.length);
      for (const { logprob, top } of logprobs) {
        expect(top).toHaveLength(SETTINGS[name]?.logprobs ?? 0);
        const values = top.map((one) => one.logprob);
        expect(values).toEqual([...values].sort((a, b) => b - a));
        expect(logprob).toBeLessThanOrEqual(values[0] ?? -1);
        expect(values.reduce((sum, value) => sum + Math.exp(value), 0)).toBeLessThan(1 + 1e-5);
      }
    }
    expect(plainOf("none").outputs.every(({ logprobs }) => logprobs === undefined)).toBe(true);
  });

  it("no token ends a sequence before minTokens, and any does from then on", async () => {
    const { engine } = await openEngine(test.context(FAMILIES[0]), { drafts: true, stepsInFlight: 2 });
    const stopTokenIds = [...new Set(plainOf("none").tokenIds)];
    const run = (minTokens: number) => generate(engine, promptOf(0), { ...GREEDY, stopTokenIds, minTokens });
    const [atOnce, later] = await Promise.all([run(0), run(7)]);
    await engine.close();
    expect(atOnce).toMatchObject({ tokenIds: plainOf("none").tokenIds.slice(0, 1), finishReason: "stop" });
    expect(later.tokenIds.slice(0, 7).filter((token) => stopTokenIds.includes(token))).toEqual([]);
    expect(later.finishReason).toBe("stop");
    expect(stopTokenIds).toContain(later.tokenIds.at(-1));
  });
});
