import { afterAll, beforeAll, expect, it } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import { SharedTarget } from "../../bench/shared-target.ts";
import type { EngineClient } from "../../engine/client.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { generate } from "../support/collect.ts";
import { ADAPTER } from "../support/gpu.ts";

const SIZES = { maxNumSeqs: 2, treeNodes: 4, treeDepth: 3, treeBudget: "fixed" } as const;
const [{ promptTokens, greedyTokens } = { promptTokens: [0], greedyTokens: [] }] = referencePrompts();
const wanted = greedyTokens.slice(0, 16);
let target: SharedTarget;

beforeAll(async () => {
  target = await SharedTarget.open("sapling-14m", 256, ADAPTER);
}, 120_000);
afterAll(() => target.close());

async function textOf(client: EngineClient): Promise<readonly number[]> {
  return (await generate(client, promptTokens, { ...GREEDY, maxTokens: wanted.length })).tokenIds;
}

it("engines over one target give the model's text, side by side and after another one has closed", async () => {
  const plain = await target.createEngine({ ...SIZES, drafter: "none" });
  const glide = await target.createEngine({ ...SIZES, drafter: "glide" });
  expect(glide.info).toMatchObject({ drafter: "glide", maxModelLen: 256 });
  expect(await Promise.all([textOf(plain), textOf(glide)])).toEqual([wanted, wanted]);
  await glide.close();
  expect(await textOf(plain)).toEqual(wanted);
  await plain.close();
}, 300_000);
