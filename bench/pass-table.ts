import { ModelRunner } from "../engine/runner/model-runner.ts";
import { measurePasses } from "../engine/speculative/budget/measure-passes.ts";
import { type PassTable, PassTimes } from "../engine/speculative/budget/pass-times.ts";
import { probeRows } from "../engine/speculative/budget/probe-rows.ts";
import { timePass } from "../engine/speculative/budget/time-pass.ts";
import { numBlocksFor } from "../kvcache/ids.ts";
import type { BenchModel } from "./bench-model.ts";
import { median } from "./median.ts";

/** A pass of so many sequences with trees of so many nodes, after so much context. Medians, in ms. */
export interface PassFigures {
  readonly numSequences: number;
  readonly numNodes: number;
  readonly context: number;
  /** By what start-up measured. */
  readonly expectedMs: number;
  readonly ms: number;
}

export interface PassReport {
  readonly table: PassTable;
  /** That start-up took. */
  readonly startMs: number;
  readonly figures: readonly PassFigures[];
}

/** T(M, context) as start-up measures it, beside passes that it has not seen. */
export async function measurePassTable(
  model: BenchModel,
  sizes: { readonly maxNumSeqs: number; readonly treeNodes: number; readonly contexts: readonly number[] },
  numRounds: number,
): Promise<PassReport> {
  const { maxNumSeqs, treeNodes, contexts } = sizes;
  const { chosen: gpu, maxModelLen } = model;
  const maxRows = maxNumSeqs * treeNodes;
  const blocksEach = numBlocksFor(maxModelLen);
  const limits = {
    ...{ maxRows, maxLogits: maxRows, maxModelLen, topK: 1 },
    ...{ numBlocks: 1 + maxNumSeqs * blocksEach, maxTableWords: maxNumSeqs * blocksEach + maxRows * treeNodes },
  };
  const runner = await ModelRunner.create(gpu, model, limits);
  const startMs = performance.now();
  const table = await measurePasses(gpu, runner, { maxNumSeqs, treeNodes });
  const tookMs = performance.now() - startMs;
  const times = new PassTimes(table);
  const shapes = [1, Math.ceil(maxNumSeqs / 2), maxNumSeqs].flatMap((numSequences) =>
    [1, Math.ceil(treeNodes / 2), treeNodes].flatMap((numNodes) =>
      contexts.map((context) => ({ numSequences, numNodes, context })),
    ),
  );
  const seen = shapes.map((): number[] => []);
  for (let round = 0; round < numRounds; round++) {
    for (const [i, { numSequences, numNodes, context }] of shapes.entries()) {
      const rows = Array.from({ length: numSequences }, (_, j) => probeRows(j, context, numNodes, limits.numBlocks));
      seen[i]?.push(await timePass(gpu, runner, rows));
    }
  }
  const figures = shapes.map(({ numSequences, numNodes, context }, i) => {
    times.context = context;
    const expectedMs = times.of(numSequences * numNodes, numSequences);
    return { numSequences, numNodes, context, expectedMs, ms: median(seen[i] ?? []) };
  });
  return { table, startMs: tookMs, figures };
}
