import type { EngineClient } from "../../engine/client.ts";
import { createEngine } from "../../engine/create.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { generate, warmUpEngine } from "../generate.ts";
import { median } from "../median.ts";
import { referencePrompts } from "../prompts.ts";
import { defineSuite, oneOf, positiveInteger } from "../suite.ts";
import { table } from "../table.ts";

interface PrefixRow {
  readonly prefixCache: boolean;
  /** Of the first request with this system prompt, in ms. */
  readonly firstMs: number;
  /** Median of the later ones', in ms. */
  readonly laterMs: number;
  /** Until every choice of one prompt has begun, in ms, and the prompt tokens that were computed for them. */
  readonly choicesMs: number;
  readonly choicesRows: number;
}

interface Contender {
  readonly prefixCache: boolean;
  readonly client: EngineClient;
  /** Of each request, time to the first token in ms. */
  readonly firstMs: number[];
  readonly texts: (readonly number[])[];
}

export const prefix = defineSuite(
  "time to first token after a shared system prompt, with the prefix cache and without; the texts must be the same",
  {
    model: { type: "string", value: "NAME|PATH", default: "sapling-14m", help: "what to run" },
    "system-tokens": { type: "string", value: "N", default: "1000", help: "that all prompts begin with" },
    "own-tokens": { type: "string", value: "N", default: "24", help: "of each prompt after them" },
    requests: { type: "string", value: "N", default: "6", help: "one after the other" },
    choices: { type: "string", value: "N", default: "4", help: "of one prompt, at once" },
  },
  async (values, print) => {
    const [numSystem, numOwn] = [positiveInteger(values["system-tokens"]), positiveInteger(values["own-tokens"])];
    const numRequests = positiveInteger(values.requests);
    const prompts = Array.from({ length: numRequests }, (_, i) => [
      ...textOf(numSystem, 0),
      ...textOf(numOwn, 7 * i + 3),
    ]);
    const adapter = oneOf(["auto", "gpu", "software"], values.adapter);
    const open = async (prefixCache: boolean): Promise<Contender> => {
      const { client } = await createEngine({ model: values.model, adapter, prefixCache });
      return { prefixCache, client, firstMs: [], texts: [] };
    };
    const rows = await measurePrefixes([await open(false), await open(true)], prompts, positiveInteger(values.choices));
    print(formatRows(rows));
    return { suite: "prefix", rows };
  },
);

/** The engines take turns, so that a noisy machine is noisy for both. Closes them. @throws Error where a text differs */
async function measurePrefixes(
  contenders: readonly Contender[],
  prompts: readonly (readonly number[])[],
  numChoices: number,
): Promise<PrefixRow[]> {
  const params = { ...GREEDY, maxTokens: 8 };
  for (const { client } of contenders) await warmUpEngine(client, [5, 6, 7, 8]);
  for (const prompt of prompts) {
    for (const { client, firstMs, texts } of contenders) {
      const run = await generate(client, prompt, params);
      firstMs.push(run.firstMs);
      texts.push(run.tokenIds);
    }
  }
  const rows: PrefixRow[] = [];
  for (const { prefixCache, client, firstMs, texts } of contenders) {
    // Begins like none of the others.
    const choices = await measureChoices(client, (prompts[0] ?? []).toReversed(), numChoices);
    texts.push(...choices.texts);
    await client.close();
    const [first = 0, ...later] = firstMs;
    rows.push({ prefixCache, firstMs: first, laterMs: median(later), ...choices.figures });
  }
  const [plain, cached] = contenders.map(({ texts }) => JSON.stringify(texts));
  if (plain !== cached) throw new Error("the prefix cache changed a text");
  return rows;
}

async function measureChoices(client: EngineClient, prompt: readonly number[], numChoices: number) {
  let choicesRows = 0;
  const stop = client.onStep(({ numPrefillTokens }) => {
    choicesRows += numPrefillTokens;
  });
  const seeds = Array.from({ length: numChoices }, (_, i) => [i, 0] as const);
  const runs = await Promise.all(
    seeds.map((seed) => generate(client, prompt, { ...GREEDY, maxTokens: 8, temperature: 0.8, seed })),
  );
  stop();
  const choicesMs = Math.max(...runs.map(({ firstMs }) => firstMs));
  return { texts: runs.map(({ tokenIds }) => tokenIds), figures: { choicesMs, choicesRows } };
}

/** Of the bundled texts, in a circle. */
function textOf(numTokens: number, from: number): number[] {
  const all = referencePrompts().flatMap(({ promptTokens, greedyTokens }) => [...promptTokens, ...greedyTokens]);
  return Array.from({ length: numTokens }, (_, i) => all[(from + i) % all.length] ?? 0);
}

function formatRows(rows: readonly PrefixRow[]): string {
  return table(
    ["prefix cache", "first request, ms", "later ones, ms", "choices at once, ms", "prompt tokens computed for them"],
    rows.map(({ prefixCache, firstMs, laterMs, choicesMs, choicesRows }) => [
      prefixCache ? "on" : "off",
      ...[firstMs, laterMs, choicesMs].map((ms) => ms.toFixed(0)),
      String(choicesRows),
    ]),
  );
}
