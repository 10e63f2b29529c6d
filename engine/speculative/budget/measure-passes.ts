import type { ModelRunner } from "../../runner/model-runner.ts";
import { GREEDY } from "../../sampling-params.ts";
import type { PassCost } from "./cost-model.ts";

/** Time after which no larger pass is measured, in ms: what lies beyond is extrapolated, and learned from steps. */
const MAX_MS = 1000;
/** Runs of a pass at most, and time after which it is not run again, in ms. */
const NUM_RUNS = 3;
const MAX_PASS_MS = 100;

/**
 * T(M) at short contexts: passes of 1, 2, 4, … rows, each drawn and read back, the fastest of up to three. At least two points,
 * however slow the device. Nothing is left behind: rows write the reserved block alone.
 */
export async function measurePasses(runner: ModelRunner): Promise<PassCost[]> {
  const mostRows = Math.min(runner.options.maxRows, runner.options.maxLogits);
  const row = { tokenIds: [0], startPosition: 0, numTokens: 1, blockTable: [0], rootPosition: 0 };
  const pass = (numRows: number) =>
    runner.run(Array.from({ length: numRows }, () => ({ ...row, sampling: { params: GREEDY, choice: 0 } })));
  await pass(1);
  const startMs = performance.now();
  const costs: PassCost[] = [];
  for (let numRows = 1; numRows <= mostRows; numRows = nextSize(numRows, mostRows)) {
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

/** Twice as many; the most there can be as the last size. */
function nextSize(numRows: number, most: number): number {
  return numRows < most ? Math.min(2 * numRows, most) : most + 1;
}
