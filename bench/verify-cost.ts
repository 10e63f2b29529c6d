import { contextFor } from "../engine/create.ts";
import { resolveModel } from "../engine/model/bundled.ts";
import { openModel } from "../engine/model/open.ts";
import { ModelRunner } from "../engine/runner/model-runner.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import { type AdapterChoice, openGpu } from "../kernels/index.ts";
import { numBlocksFor } from "../kvcache/ids.ts";
import { median } from "./median.ts";

/** Milliseconds of one verify pass of `numRows` tree nodes of one sequence, from the call to the drawn tokens. */
export interface VerifyCost {
  readonly numRows: number;
  readonly medianMs: number;
  /** T(M) / T(1) */
  readonly ratio: number;
}

const CONTEXT_LEN = 128;

/** T(M): chains of M nodes after 128 tokens of context. Rounds go over all M in turn, so that noise falls on all. */
export async function measureVerifyCost(
  model: string,
  adapter: AdapterChoice,
  rowCounts: readonly number[],
  numRounds: number,
): Promise<readonly VerifyCost[]> {
  const opened = openModel(resolveModel(model));
  const device = await openGpu(adapter);
  const gpu = await contextFor(device, [opened.config]);
  const maxRows = Math.max(CONTEXT_LEN, ...rowCounts);
  const maxModelLen = CONTEXT_LEN + maxRows;
  const numBlocks = 1 + numBlocksFor(maxModelLen);
  const maxTableWords = numBlocks + maxRows * maxRows;
  const limits = { maxRows, maxLogits: maxRows, maxModelLen, numBlocks, maxTableWords, topK: 1 };
  const runner = await ModelRunner.create(gpu, opened, limits);
  const blockTable = Array.from({ length: numBlocks - 1 }, (_, i) => i + 1);
  const tokenIds = Array.from({ length: maxModelLen }, (_, i) => i % opened.config.vocabSize);
  const pass = (startPosition: number, numTokens: number) => ({
    ...{ tokenIds, startPosition, numTokens, blockTable, rootPosition: startPosition },
    sampling: { params: GREEDY, choice: 0 },
  });
  const chain = (numNodes: number) => ({
    ...pass(CONTEXT_LEN, 1),
    tree: {
      tokenIds: tokenIds.slice(0, numNodes),
      parents: Array.from({ length: numNodes }, (_, i) => i - 1),
      depths: Array.from({ length: numNodes }, (_, i) => i),
      firstNode: 1,
    },
  });
  await runner.run([pass(0, CONTEXT_LEN)]);
  const times = rowCounts.map((): number[] => []);
  for (let round = 0; round <= numRounds; round++) {
    for (const [i, numRows] of rowCounts.entries()) {
      const startMs = performance.now();
      await runner.run([chain(numRows)]);
      if (round > 0) times[i]?.push(performance.now() - startMs);
    }
  }
  gpu.pool.destroyAll();
  device.close();
  opened.weights.close();
  const medians = times.map(median);
  return rowCounts.map((numRows, i) => {
    const medianMs = medians[i] ?? 0;
    return { numRows, medianMs, ratio: medianMs / (medians[0] ?? medianMs) };
  });
}
