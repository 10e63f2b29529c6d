import type { ModelRunner } from "../../runner/model-runner.ts";
import { GREEDY } from "../../sampling-params.ts";
import type { PassCost } from "./cost-model.ts";

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

/**
 * The next power of two, or one and a half times one: kernels take rows by tiles, of which 6 may fill as many as 8 do. The most there can
 * be is the last size.
 */
function nextSize(numRows: number, most: number): number {
  const power = 2 ** Math.floor(Math.log2(numRows));
  const next = numRows === power && power > 1 ? 1.5 * power : 2 * power;
  return numRows < most ? Math.min(next, most) : most + 1;
}
