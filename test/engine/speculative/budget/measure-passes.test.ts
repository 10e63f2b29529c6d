import { expect, it } from "vitest";
import { referencePrompts } from "../../../../bench/prompts.ts";
import { resolveModel } from "../../../../engine/model/bundled.ts";
import { openModel } from "../../../../engine/model/open.ts";
import { ModelRunner } from "../../../../engine/runner/model-runner.ts";
import { GREEDY } from "../../../../engine/sampling-params.ts";
import { measurePasses } from "../../../../engine/speculative/budget/measure-passes.ts";
import { FAMILIES, useGpu } from "../../../support/gpu.ts";

const test = useGpu();

it.each([
  { maxModelLen: 64, treeNodes: 8 },
  // Far fewer blocks than a sequence could fill, and trees of more nodes than a pass draws for.
  { maxModelLen: 512, treeNodes: 20 },
])("T(M, context) has a time for ever more rows, and what the cache holds stays as it was: %o", async (sizes) => {
  const { maxModelLen, treeNodes } = sizes;
  const model = openModel(resolveModel("sapling-2m-draft"));
  const [{ promptTokens: tokenIds } = { promptTokens: [] }] = referencePrompts();
  const limits = { maxRows: 64, maxLogits: 16, maxModelLen, numBlocks: 5, maxTableWords: 64, topK: 1 };
  const bounds = { maxNumSeqs: 4, treeNodes };
  const gpu = test.context(FAMILIES[0]);
  const runner = await ModelRunner.create(gpu, model, limits);
  model.weights.close();
  const last = tokenIds.length - 1;
  const sequence = { tokenIds, blockTable: [1, 2, 3, 4], rootPosition: last, sampling: { params: GREEDY, choice: 0 } };
  await runner.run([{ ...sequence, startPosition: 0, numTokens: tokenIds.length }]);
  const [before] = await runner.readLogits();
  const { passes, perToken, treeShare } = await measurePasses(gpu, runner, bounds);
  expect(passes.slice(0, 2).map(({ numRows }) => numRows)).toEqual([1, 2]);
  for (const [i, { numRows, ms }] of passes.entries()) {
    expect(numRows).toBeGreaterThan(passes[i - 1]?.numRows ?? 0);
    expect(numRows).toBeLessThanOrEqual(16);
    expect(ms).toBeGreaterThan(0);
    expect(ms).toBeGreaterThanOrEqual(passes[i - 1]?.ms ?? 0);
  }
  expect(perToken.map(({ numRows }) => numRows)).toEqual([1, 2, 4].slice(0, perToken.length));
  for (const { ms } of perToken) expect(ms).toBeGreaterThanOrEqual(0);
  expect(perToken.length).toBeGreaterThan(0);
  expect(treeShare).toBeGreaterThanOrEqual(0);
  expect(treeShare).toBeLessThanOrEqual(1);
  // The last token again, over the keys and values of the others.
  await runner.run([{ ...sequence, startPosition: last, numTokens: 1 }]);
  const [after] = await runner.readLogits();
  expect(after).toEqual(before);
});
