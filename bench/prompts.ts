import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bundledModelsDir } from "../engine/model/bundled.ts";

/** One prompt of models/reference.json with what the target says to it in f32, greedily. */
export interface ReferencePrompt {
  readonly prompt: string;
  readonly promptTokens: readonly number[];
  readonly greedyTokens: readonly number[];
  /** Gap between the best two logits at each step. */
  readonly top2Margin: readonly number[];
}

interface Reference {
  readonly prompts: readonly ReferencePrompt[];
  readonly chainOf4: Readonly<Record<"draft" | "eagle" | "glide" | "medusa", { readonly meanTokensAStep: number }>>;
}

/** The prompts that come with the bundled models. */
export function referencePrompts(): readonly ReferencePrompt[] {
  return readReference().prompts;
}

/** The tokens that the reference texts have most often, ascending. */
export function frequentTokens(count: number): readonly number[] {
  const counts = new Map<number, number>();
  for (const { greedyTokens } of referencePrompts()) {
    for (const token of greedyTokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  }
  const byCount = [...counts].sort(([a, x], [b, y]) => y - x || a - b).slice(0, count);
  return byCount.map(([token]) => token).sort((a, b) => a - b);
}

/** Tokens a step that greedy chains of four give, over every position of all texts. */
export function referenceChains(): Readonly<Record<keyof Reference["chainOf4"], number>> {
  const { draft, eagle, glide, medusa } = readReference().chainOf4;
  return {
    ...{ draft: draft.meanTokensAStep, eagle: eagle.meanTokensAStep },
    ...{ glide: glide.meanTokensAStep, medusa: medusa.meanTokensAStep },
  };
}

function readReference(): Reference {
  return JSON.parse(readFileSync(join(bundledModelsDir(), "reference.json"), "utf8")) as Reference;
}
