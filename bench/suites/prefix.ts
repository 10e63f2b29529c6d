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
    const [rows, texts]: [PrefixRow[], string[]] = [[], []];
    for (const prefixCache of [false, true]) {
      const adapter = oneOf(["auto", "gpu", "software"], values.adapter);
      const { client } = await createEngine({ model: values.model, adapter, prefixCache });
      const { row, tokenIds } = await measurePrefixes(client, prompts, positiveInteger(values.choices));
      rows.push({ prefixCache, ...row });
      texts.push(JSON.stringify(tokenIds));
      await client.close();
    }
    if (texts[0] !== texts[1]) throw new Error("the prefix cache changed a text");
    print(formatRows(rows));
    return { suite: "prefix", rows };
  },
);

async function measurePrefixes(client: EngineClient, prompts: readonly (readonly number[])[], numChoices: number) {
  const params = { ...GREEDY, maxTokens: 8 };
  await warmUpEngine(client, [5, 6, 7, 8]);
  const runs = [];
  for (const prompt of prompts) runs.push(await generate(client, prompt, params));
  const [first, ...later] = runs.map(({ firstMs }) => firstMs);
  let choicesRows = 0;
  const stop = client.onStep(({ numPrefillTokens }) => {
    choicesRows += numPrefillTokens;
  });
  const sampled = { ...params, temperature: 0.8 };
  // Begins like none of the others.
  const fresh = (prompts[0] ?? []).toReversed();
  const choices = await Promise.all(
    Array.from({ length: numChoices }, (_, i) => generate(client, fresh, { ...sampled, seed: [i, 0] })),
  );
  stop();
  const row = {
    ...{ firstMs: first ?? 0, laterMs: median(later), choicesRows },
    choicesMs: Math.max(...choices.map(({ firstMs }) => firstMs)),
  };
  return { row, tokenIds: [...runs, ...choices].map(({ tokenIds }) => tokenIds) };
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
