import { createEngine } from "../engine/create.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import { generate } from "./generate.ts";
import { referencePrompts } from "./prompts.ts";

/**
 * Below this gap between the best two logits, another order of summation (f32), or rounding weights, keys and values (f16),
 * may choose the other token.
 */
export const MARGINS = { f32: 0.002, f16: 0.02 } as const;

/** Where a text leaves the reference's, and how near the reference itself was to another token there. */
export interface Difference {
  readonly prompt: number;
  readonly position: number;
  readonly margin: number;
}

/** Greedy texts of the bundled model, which must be those of models/reference.json. */
export async function compareWithReference(options: EngineOptions): Promise<readonly Difference[]> {
  const { client } = await createEngine(options);
  const prompts = referencePrompts();
  const texts = await Promise.all(
    prompts.map(({ promptTokens, greedyTokens }) =>
      generate(client, promptTokens, { ...GREEDY, maxTokens: greedyTokens.length }),
    ),
  );
  await client.close();
  return differencesOf(texts.map(({ tokenIds }) => tokenIds));
}

/** @param texts token ids for each reference prompt, in their order, or for the first ones */
export function differencesOf(texts: readonly (readonly number[])[]): Difference[] {
  return referencePrompts()
    .slice(0, texts.length)
    .flatMap(({ greedyTokens, top2Margin }, prompt) => {
      const position = greedyTokens.findIndex((token, at) => texts[prompt]?.[at] !== token);
      return position < 0 ? [] : [{ prompt, position, margin: top2Margin[position] ?? Number.POSITIVE_INFINITY }];
    });
}
