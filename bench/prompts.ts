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

/** The prompts that come with the bundled models. */
export function referencePrompts(): readonly ReferencePrompt[] {
  const file = join(bundledModelsDir(), "reference.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { prompts: ReferencePrompt[] }).prompts;
}
