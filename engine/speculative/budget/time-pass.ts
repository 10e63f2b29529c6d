import type { GpuContext } from "../../../kernels/index.ts";
import type { BatchSequence } from "../../runner/batch.ts";
import type { ModelRunner } from "../../runner/model-runner.ts";

/** A pass that takes longer is not run again, in ms; others again in one submit for about so long, but so many times at most. */
const MAX_PASS_MS = 25;
const MAX_REPEATS = 8;

/**
 * Ms of a pass over these rows. Where it is short, what the host does to put rows together is left out: steps on the device do
 * without.
 */
export async function timePass(
  gpu: GpuContext,
  runner: ModelRunner,
  sequences: readonly BatchSequence[],
): Promise<number> {
  const startMs = performance.now();
  await runner.run(sequences);
  const firstMs = performance.now() - startMs;
  const numTimes = Math.min(MAX_REPEATS, Math.floor(MAX_PASS_MS / firstMs));
  return numTimes === 0 ? firstMs : Math.min(firstMs, await timeAgain(gpu, runner, sequences, numTimes));
}

/** Runs the kernels of the pass before again, so many times in one submit: they write what they wrote. @returns ms of one */
function timeAgain(
  gpu: GpuContext,
  runner: ModelRunner,
  sequences: readonly BatchSequence[],
  numTimes: number,
): Promise<number> {
  const numRows = sequences.reduce((sum, { numTokens, tree }) => sum + numTokens + (tree?.tokenIds.length ?? 1) - 1, 0);
  const maxPosition = Math.max(
    ...sequences.map(({ rootPosition, tree }) => rootPosition + Math.max(0, ...(tree?.depths ?? []))),
  );
  const size = runner.sizeOf(numRows, numRows, maxPosition);
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
