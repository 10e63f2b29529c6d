import { rmSync } from "node:fs";
import { afterAll, describe, expect, it, vi } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { GREEDY, type SamplingParams } from "../../engine/sampling-params.ts";
import { type Generated, generate } from "../support/collect.ts";
import { useEngines } from "../support/engines.ts";
import { coarseDraftFolder } from "./coarse-draft.ts";

const createEngine = useEngines();
const MAX_MODEL_LEN = 256;
const COARSE = coarseDraftFolder();
afterAll(() => rmSync(COARSE, { recursive: true }));

const WARM: SamplingParams = { ...GREEDY, temperature: 0.8, topP: 0.95, topK: 60, minP: 0.01 };

interface Served {
  readonly texts: readonly Generated[];
  readonly numPreemptions: number;
}

/** Sequences of different lengths in one batch, every other one sampled. */
async function serve(options: EngineOptions, numSequences: number, maxTokens: number): Promise<Served> {
  const limits = {
    adapter: "software",
    maxModelLen: MAX_MODEL_LEN,
    treeBudget: "fixed",
    checkInvariants: true,
  } as const;
  const engine = (await createEngine({ ...limits, ...options })).client as Engine;
  let numPreemptions = 0;
  engine.onStep((stats) => {
    numPreemptions += stats.numPreemptions;
  });
  const prompts = referencePrompts().slice(0, numSequences);
  const texts = await Promise.all(
    prompts.map(({ promptTokens }, i) => {
      const params = i % 2 === 0 ? GREEDY : { ...WARM, seed: [i, 3] as const };
      return generate(engine, promptTokens, { ...params, maxTokens: maxTokens - 4 * i });
    }),
  );
  // A step that was in flight when the last sequence ended may still hold its blocks.
  await vi.waitFor(() => expect(engine.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }), 5_000);
  await engine.close();
  return { texts, numPreemptions };
}

describe("sequences that lose their blocks and are computed again", () => {
  it.each([
    { name: "suffix", drafter: "suffix", numKvBlocks: 19, numSequences: 6, maxTokens: 72 },
    { name: "a draft model", drafter: COARSE, numKvBlocks: 10, numSequences: 3, maxTokens: 48 },
  ] as const)("drafter $name: the text of plain decoding with room for all", async (setting) => {
    const { drafter, numKvBlocks, numSequences, maxTokens } = setting;
    const model = "sapling-2m-draft";
    const roomy = await serve({ model, drafter: "none" }, numSequences, maxTokens);
    const tight = await serve({ model, drafter, numKvBlocks }, numSequences, maxTokens);
    expect(roomy.numPreemptions).toBe(0);
    expect(tight.numPreemptions).toBeGreaterThan(0);
    expect(tight.texts.reduce((sum, { numAccepted }) => sum + numAccepted, 0)).toBeGreaterThan(0);
    expect(tight.texts.map(({ tokenIds }) => tokenIds)).toEqual(roomy.texts.map(({ tokenIds }) => tokenIds));
    expect(tight.texts.map(({ finishReason }) => finishReason)).toEqual(roomy.texts.map(() => "length"));
  });
});
