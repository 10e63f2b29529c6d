import type { ModelRunner } from "../../runner/model-runner.ts";
import { GREEDY } from "../../sampling-params.ts";
import type { PassCost } from "./cost-model.ts";
import { sizesUpTo } from "./sizes.ts";

/** Time after which no larger pass is measured, in ms: what lies beyond is extrapolated, and learned from steps. */
const MAX_MS = 1500;
/** Runs of a pass at most, and time after which it is not run again, in ms. */
const NUM_RUNS = 3;
const MAX_PASS_MS = 100;

/**
 * T(M) at short contexts: passes of 1, 2, 3, 4, 6, 8, 12, … rows, each drawn and read back, the fastest of up to three. At least two
 * points, however slow the device. Nothing is left behind: rows write the reserved block alone.
 */
export async function measurePasses(runner: ModelRunner): Promise<PassCost[]> {
  const mostRows = Math.min(runner.options.maxRows, runner.options.maxLogits);
  const row = { tokenIds: [0], startPosition: 0, numTokens: 1, blockTable: [0], rootPosition: 0 };
  const pass = (numRows: number) =>
    runner.run(Array.from({ length: numRows }, () => ({ ...row, sampling: { params: GREEDY, choice: 0 } })));
  await pass(1);
  const startMs = performance.now();
  const costs: PassCost[] = [];
  for (const numRows of [1, ...sizesUpTo(mostRows)]) {
    const firstMs = performance.now();
    let ms = Number.POSITIVE_INFINITY;
    for (let i = 0; i < NUM_RUNS && performance.now() - firstMs < MAX_PASS_MS; i++) {
      const runMs = performance.now();
      await pass(numRows);
      ms = Math.min(ms, performance.now() - runMs);
    }
    costs.push({ numRows, ms });
    if (costs.length > 1 && performance.now() - startMs > MAX_MS) break;
  }
  return costs;
}
