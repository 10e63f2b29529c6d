import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import { bundledModelsDir, resolveModel } from "../../../engine/model/bundled.ts";
import { openModel } from "../../../engine/model/open.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { expectClose } from "../../support/arrays.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";

const test = useGpu();

/** Logits after the first prompt, by another implementation of the model (models/training/reference.py), to 5 decimals. */
const { lastLogitsOfPrompt0 } = JSON.parse(readFileSync(join(bundledModelsDir(), "reference.json"), "utf8")) as {
  readonly lastLogitsOfPrompt0: readonly number[];
};

it.each(FAMILIES)("$name family, $storage: the reference's logits", async (family) => {
  const gpu = test.context(family);
  const model = openModel(resolveModel("sapling-14m"));
  const [{ promptTokens: tokenIds } = { promptTokens: [] }] = referencePrompts();
  const numTokens = tokenIds.length;
  const limits = { maxRows: 64, maxLogits: 1, maxModelLen: 64, numBlocks: 5, maxTableWords: 8, topK: 1 };
  const runner = await ModelRunner.create(gpu, model, limits);
  model.weights.close();
  const sampling = { params: GREEDY, choice: 0 };
  await runner.run([
    { tokenIds, startPosition: 0, numTokens, blockTable: [1, 2, 3, 4], rootPosition: numTokens - 1, sampling },
  ]);
  const [logits = new Float32Array()] = await runner.readLogits();
  expect(lastLogitsOfPrompt0).toHaveLength(64);
  // Half of the margins below which reference.test.ts lets the other token win: two logits may err against each other.
  const absolute = family.storage === "f16" ? 0.01 : 0.001;
  expectClose(logits.slice(0, 64), lastLogitsOfPrompt0, { absolute }, "logits");
});
