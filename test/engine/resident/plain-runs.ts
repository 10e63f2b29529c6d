import { afterEach, beforeAll, expect, vi } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import type { Engine } from "../../../engine/engine.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import { type Generated, generate } from "../../support/collect.ts";
import { FAMILIES, type TestGpu } from "../../support/gpu.ts";
import { type OpenedEngine, type OpenOptions, openEngine } from "./open-engine.ts";

const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);
export const promptOf = (i: number) => (prompts[i % prompts.length] ?? []).slice(0, 24);

/** Eight ways to sample, of different lengths, so that sequences leave the batch one by one. */
export const paramsOf = (i: number): SamplingParams => ({
  ...{ ...GREEDY, temperature: (i % 3) / 2, topP: i % 2 ? 0.9 : 1, topK: i % 4 ? 0 : 20, seed: [i, 7] },
  maxTokens: 18 + 5 * (i % 4),
});

/** Engines of a file's tests, and what plain decoding by the host gives for eight sequences: what everything is compared with. */
export function usePlainRuns(gpu: TestGpu) {
  let plain: readonly Generated[];
  let opened: OpenedEngine | undefined;

  beforeAll(async () => {
    const { engine } = await openEngine(gpu.context(FAMILIES[0]), { drafts: false, stepsInFlight: 0 });
    plain = await Promise.all(Array.from({ length: 8 }, (_, i) => generate(engine, promptOf(i), paramsOf(i))));
    await engine.close();
  });

  afterEach(async () => {
    await opened?.engine.close();
    opened = undefined;
  });

  function plainOf(i: number): Generated {
    return plain[i] ?? expect.fail(`there is no sequence ${i}`);
  }

  return {
    /** Closed after the test. */
    async open(options: Partial<OpenOptions> & Pick<OpenOptions, "drafts">): Promise<OpenedEngine> {
      opened = await openEngine(gpu.context(FAMILIES[0]), { stepsInFlight: 2, ...options });
      return opened;
    },

    plainOf,

    /** Generates sequence `i`, and compares tokens and end with plain decoding's. */
    async expectPlain(engine: Engine, i: number): Promise<Generated> {
      const got = await generate(engine, promptOf(i), paramsOf(i));
      expect(got.tokenIds).toEqual(plainOf(i).tokenIds);
      expect(got.finishReason).toBe(plainOf(i).finishReason);
      return got;
    },
  };
}

export async function expectIdle({ engine, blocks, draftBlocks }: OpenedEngine): Promise<void> {
  await vi.waitFor(() => expect(engine.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }), 10_000);
  engine.checkIntegrity();
  blocks.checkIntegrity();
  draftBlocks.checkIntegrity();
  expect(draftBlocks.usage).toBe(0);
}
