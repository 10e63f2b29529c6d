import type { GpuContext } from "../../../kernels/index.ts";
import { BLOCK_SIZE, numBlocksFor } from "../../../kvcache/ids.ts";
import type { ModelRunner } from "../../runner/model-runner.ts";
import { Curve, type PassCost, type PassTable } from "./pass-times.ts";
import { probeRows } from "./probe-rows.ts";
import { sizesUpTo } from "./sizes.ts";
import { timePass } from "./time-pass.ts";

/** Time after which no larger pass is measured, without context and with one, in ms: what lies beyond is extrapolated, and learned from steps. */
const MAX_MS = { without: 500, with: 250 };
/** So often all passes are measured, one after the other, as long as that takes no more than twice that time. */
const NUM_SWEEPS = 3;
/** Tokens of the context that is measured at most. */
const MAX_CONTEXT = 1024;

/** What steps will be like. */
export interface PassBounds {
  /** Sequences of a step. */
  readonly maxNumSeqs: number;
  /** Nodes of one tree, root included. */
  readonly treeNodes: number;
}

/**
 * T(M, context): passes of 1, 2, 3, 4, 6, 8, 12, … rows without context, each drawn; then what a long context adds. Less than two
 * seconds, but for a few passes however slow the device. Nothing is left behind: rows write the reserved block alone.
 */
export async function measurePasses(gpu: GpuContext, runner: ModelRunner, bounds: PassBounds): Promise<PassTable> {
  const mostRows = Math.min(runner.options.maxRows, runner.options.maxLogits);
  const rows = (count: number) => Array.from({ length: count }, (_, i) => probeRows(i, 0, 1, runner.options.numBlocks));
  await runner.run(rows(1));
  const sizes = [1, ...sizesUpTo(mostRows)];
  const passes = await timed(sizes, MAX_MS.without, 2, (numRows) => timePass(gpu, runner, rows(numRows)));
  return { passes, ...(await measureContext(gpu, runner, bounds, new Curve(passes))) };
}

/** What a token of context adds to sequences of a row each, and to the rows of trees. */
async function measureContext(
  gpu: GpuContext,
  runner: ModelRunner,
  { maxNumSeqs, treeNodes }: PassBounds,
  passes: Curve,
): Promise<Pick<PassTable, "perToken" | "treeShare">> {
  const { maxModelLen, numBlocks, maxRows, maxLogits } = runner.options;
  const numNodes = Math.min(treeNodes, maxRows, maxLogits);
  const longest = Math.min(MAX_CONTEXT, maxModelLen - numNodes, (numBlocks - numBlocksFor(numNodes)) * BLOCK_SIZE);
  const tableSize = Math.floor(longest / BLOCK_SIZE);
  if (tableSize < 1) return { perToken: [], treeShare: 0 };
  const context = tableSize * BLOCK_SIZE;
  const timeTrees = (numTrees: number, nodes: number) => {
    const trees = Array.from({ length: numTrees }, (_, i) => probeRows(i, context, nodes, numBlocks));
    return timePass(gpu, runner, trees);
  };
  const addedMs = (numRows: number, ms: number) => Math.max(0, ms - passes.at(numRows)) / context;
  const counts = [1, ...sizesUpTo(maxNumSeqs)].filter((count) => Number.isInteger(Math.log2(count)));
  const times = await timed(counts, MAX_MS.with, 1, (count) => timeTrees(count, 1));
  const perToken = times.map(({ numRows, ms }) => ({ numRows, ms: addedMs(numRows, ms) }));
  // As many trees as there is time for, if each of their rows takes what a sequence does.
  const mostTrees = Math.floor(Math.min(maxRows, maxLogits) / numNodes);
  const isShort = ({ numRows, ms }: PassCost) => (passes.at(numRows) + context * ms) * numNodes < MAX_MS.with;
  const few = perToken.filter((cost) => cost.numRows <= mostTrees && isShort(cost)).at(-1) ?? perToken[0];
  if (few === undefined || few.ms === 0 || numNodes < 2) return { perToken, treeShare: 0 };
  const [numTrees, numRows] = [few.numRows, few.numRows * numNodes];
  const share = (addedMs(numRows, await timeTrees(numTrees, numNodes)) / few.ms - 1) / (numNodes - 1);
  return { perToken, treeShare: Math.max(0, Math.min(1, share)) };
}

/**
 * One after the other, for so long, but so many at least; then again, as far as there is time. The least of each counts: the first pass of
 * so many rows may compile what others do without (on two cores it took up to twice as long), and a machine with neighbours is slower for
 * some passes in a row. Nor does a pass take longer than one of more rows: it could be padded.
 */
async function timed(
  sizes: readonly number[],
  maxMs: number,
  least: number,
  measure: (numRows: number) => Promise<number>,
): Promise<PassCost[]> {
  const startMs = performance.now();
  const costs: PassCost[] = [];
  for (const numRows of sizes) {
    if (costs.length >= least && performance.now() - startMs > maxMs) break;
    costs.push({ numRows, ms: await measure(numRows) });
  }
  for (let sweep = 1; sweep < NUM_SWEEPS; sweep++) {
    for (const [i, { numRows, ms }] of costs.entries()) {
      const isTime = performance.now() - startMs + ms < 2 * maxMs;
      if (isTime) costs[i] = { numRows, ms: Math.min(ms, await measure(numRows)) };
    }
  }
  return costs.map(({ numRows }, i) => ({ numRows, ms: Math.min(...costs.slice(i).map(({ ms }) => ms)) }));
}
