import { rmSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { EngineClient } from "../../engine/client.ts";
import { EngineOptionsError } from "../../engine/errors.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { generate } from "../support/collect.ts";
import { useEngines } from "../support/engines.ts";
import { coarseDraftFolder } from "./coarse-draft.ts";

const createEngine = useEngines();
const OPTIONS = { model: "sapling-2m-draft", adapter: "software", maxModelLen: 128, kvDtype: "q8" } as const;
const COARSE = coarseDraftFolder();
const PROMPTS = referencePrompts()
  .slice(0, 2)
  .map(({ promptTokens }) => promptTokens);
const SAMPLED = { ...GREEDY, temperature: 0.9, seed: [3, 4], maxTokens: 20 } as const;

const clients: EngineClient[] = [];
beforeAll(async () => {
  for (const drafter of ["none", COARSE] as const) clients.push((await createEngine({ ...OPTIONS, drafter })).client);
});
afterAll(async () => {
  for (const client of clients) await client.close();
  rmSync(COARSE, { recursive: true });
});

it("keys and values in 8 bits: the tokens are the same with drafts and without, beside another sequence and alone", async () => {
  const [plain, drafting] = clients;
  if (plain === undefined || drafting === undefined) throw new Error("no engines");
  for (const params of [{ ...GREEDY, maxTokens: 20 }, SAMPLED]) {
    const alone = [];
    for (const prompt of PROMPTS) alone.push((await generate(plain, prompt, params)).tokenIds);
    const together = await Promise.all(PROMPTS.map((prompt) => generate(drafting, prompt, params)));
    expect(together.map(({ tokenIds }) => tokenIds)).toEqual(alone);
    expect(together.reduce((sum, { numAccepted }) => sum + numAccepted, 0)).toBeGreaterThan(5);
  }
});

it("another type of keys and values is another fingerprint, and more of them fit", async () => {
  const { client } = await createEngine({ ...OPTIONS, drafter: "none", kvDtype: "auto" });
  clients.push(client);
  const [q8] = clients;
  expect(client.info.fingerprint).not.toBe(q8?.info.fingerprint);
  expect(client.info.numKvBlocks).toBe(q8?.info.numKvBlocks);
  expect(client.memory?.gpuBytes ?? 0).toBeGreaterThan(q8?.memory?.gpuBytes ?? 0);
});

it("halves are refused where the adapter has none", async () => {
  const refused = createEngine({ ...OPTIONS, drafter: "none", kvDtype: "f16" });
  await expect(refused).rejects.toThrow(EngineOptionsError);
  await expect(refused).rejects.toThrow(/kv-dtype is f16.*auto, f32 or q8/);
});
