import { beforeAll, expect, it } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import { differencesOf, MARGINS } from "../../bench/reference.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { type Generated, generate } from "../support/collect.ts";
import { useEngines } from "../support/engines.ts";
import { ADAPTER } from "../support/gpu.ts";

const createEngine = useEngines();
const MARGIN = MARGINS[ADAPTER === "gpu" ? "f16" : "f32"];
const END_OF_TURN = 2;

/**
 * A part of the texts by plain decoding, the others with drafts, which take longer: that drafts do not change a text, other tests
 * show for every kind of drafter and tree.
 */
const PARTS = [
  { drafter: "none", first: 0, end: 11 },
  { drafter: "draft", first: 11, end: 16 },
] as const;

const runs = new Map<string, readonly Generated[]>();

beforeAll(async () => {
  const params = { ...GREEDY, stopTokenIds: [END_OF_TURN] };
  for (const { drafter, first, end } of PARTS) {
    const options = { model: "sapling-14m", adapter: ADAPTER, drafter, treeBudget: "fixed" } as const;
    const { client } = await createEngine({ ...options, checkInvariants: true });
    const texts = referencePrompts()
      .slice(first, end)
      .map(({ promptTokens, greedyTokens }) =>
        generate(client, promptTokens, { ...params, maxTokens: greedyTokens.length }),
      );
    runs.set(drafter, await Promise.all(texts));
    await client.close();
  }
}, 900_000);

it("greedy texts of all 16 prompts are the reference's", () => {
  const texts = [...runs.values()].flat();
  const differences = differencesOf(texts.map(({ tokenIds }) => tokenIds));
  console.log(`${differences.length} of ${texts.length} texts leave the reference`, differences);
  expect(texts).toHaveLength(16);
  expect(referencePrompts()).toHaveLength(16);
  expect(differences.filter(({ margin }) => margin >= MARGIN)).toEqual([]);
});

it.each(PARTS)("drafter $drafter accepts what it drafts as often as its kind can", ({ drafter }) => {
  const texts = runs.get(drafter) ?? [];
  const numSteps = texts.reduce((sum, { outputs }) => sum + outputs.length, 0);
  const acceptanceLength = texts.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0) / numSteps;
  console.log(`drafter ${drafter}: mean acceptance length ${acceptanceLength.toFixed(2)}`);
  if (drafter === "draft") expect(acceptanceLength).toBeGreaterThanOrEqual(3);
  else expect(acceptanceLength).toBe(1);
});
