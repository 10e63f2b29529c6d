import type { GpuContext } from "../../../kernels/index.ts";
import type { ModelRunner } from "../../runner/model-runner.ts";
import { GREEDY } from "../../sampling-params.ts";
import type { PassCost } from "./pass-times.ts";
import { sizesUpTo } from "./sizes.ts";

/** Time after which no larger pass is measured, in ms: what lies beyond is extrapolated, and learned from steps. */
const MAX_MS = 1500;
/** A pass that takes longer is not run again, in ms; others again in one submit for about so long, but so many times at most. */
const MAX_PASS_MS = 100;
const MAX_REPEATS = 8;

/**
 * T(M) at short contexts: passes of 1, 2, 3, 4, 6, 8, 12, … rows, each drawn. Where they are short, what the host does to put rows together
 * is left out: steps on the device do without. At least two points, however slow the device. Nothing is left behind: rows write the
 * reserved block alone.
 */
export async function measurePasses(gpu: GpuContext, runner: ModelRunner): Promise<PassCost[]> {
  const mostRows = Math.min(runner.options.maxRows, runner.options.maxLogits);
  const row = { tokenIds: [0], startPosition: 0, numTokens: 1, blockTable: [0], rootPosition: 0 };
  const pass = (numRows: number) =>
    runner.run(Array.from({ length: numRows }, () => ({ ...row, sampling: { params: GREEDY, choice: 0 } })));
  await pass(1);
  const startMs = performance.now();
  const costs: PassCost[] = [];
  for (const numRows of [1, ...sizesUpTo(mostRows)]) {
    const runMs = performance.now();
    await pass(numRows);
    const firstMs = performance.now() - runMs;
    const numTimes = Math.min(MAX_REPEATS, Math.floor(MAX_PASS_MS / firstMs));
    let ms = firstMs;
    for (let i = 0; i < 2 && numTimes > 0; i++) ms = Math.min(ms, await timeAgain(gpu, runner, numRows, numTimes));
    costs.push({ numRows, ms });
    if (costs.length > 1 && performance.now() - startMs > MAX_MS) break;
  }
  return costs;
}

/** Runs the kernels of the pass before again, so many times in one submit: they write what they wrote. @returns ms of one */
function timeAgain(gpu: GpuContext, runner: ModelRunner, numRows: number, numTimes: number): Promise<number> {
  const size = runner.sizeOf(numRows, numRows, 0);
  return gpu.guard.run(async () => {
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < numTimes; i++) {
      runner.encodeForward(pass, size);
      runner.encodeSample(pass, size);
    }
    pass.end();
    const commands = encoder.finish();
    const startMs = performance.now();
    gpu.device.queue.submit([commands]);
    await gpu.device.queue.onSubmittedWorkDone();
    return (performance.now() - startMs) / numTimes;
  });
}
