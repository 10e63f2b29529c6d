import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import { differencesOf, MARGINS } from "../../bench/reference.ts";
import type { EngineClient } from "../../engine/client.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { type Generated, generate } from "../support/collect.ts";
import { useEngines } from "../support/engines.ts";
import { ADAPTER } from "../support/gpu.ts";

const createEngine = useEngines();
const MARGIN = MARGINS[ADAPTER === "gpu" ? "f16" : "f32"];
const END_OF_TURN = 2;

/** With drafts, fewer: that they do not change a text, other tests show for every kind of drafter and tree. */
const CASES = [
  { drafter: "none", numPrompts: 16 },
  { drafter: "draft", numPrompts: 6 },
] as const;

describe.each(CASES)("drafter $drafter, greedy", ({ drafter, numPrompts }) => {
  const prompts = referencePrompts().slice(0, numPrompts);
  let client: EngineClient;
  let texts: readonly Generated[];

  beforeAll(async () => {
    ({ client } = await createEngine({
      model: "sapling-14m",
      adapter: ADAPTER,
      drafter,
      treeBudget: "fixed",
      checkInvariants: true,
    }));
    const params = { ...GREEDY, stopTokenIds: [END_OF_TURN] };
    texts = await Promise.all(
      prompts.map(({ promptTokens, greedyTokens }) =>
        generate(client, promptTokens, { ...params, maxTokens: greedyTokens.length }),
      ),
    );
  }, 900_000);
  afterAll(() => client.close());

  it(`gives the reference's tokens for ${numPrompts} prompts`, () => {
    const differences = differencesOf(texts.map(({ tokenIds }) => tokenIds));
    console.log(
      `drafter ${drafter}: ${differences.length} of ${prompts.length} texts leave the reference`,
      differences,
    );
    expect(prompts).toHaveLength(numPrompts);
    expect(differences.filter(({ margin }) => margin >= MARGIN)).toEqual([]);
  });

  it("accepts what it drafts as often as its kind can", () => {
    const numSteps = texts.reduce((sum, { outputs }) => sum + outputs.length, 0);
    const acceptanceLength = texts.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0) / numSteps;
    console.log(`drafter ${drafter}: mean acceptance length ${acceptanceLength.toFixed(2)}`);
    if (drafter === "draft") expect(acceptanceLength).toBeGreaterThanOrEqual(3);
    if (drafter === "none") expect(acceptanceLength).toBe(1);
  });
});
