import { ModelRunner } from "../engine/runner/model-runner.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import { submitPass } from "../kernels/index.ts";
import { numBlocksFor } from "../kvcache/ids.ts";
import type { BenchModel } from "./bench-model.ts";
import { median } from "./median.ts";

/** What a verify pass of `numRows` tree nodes of one sequence costs. Medians, in ms. */
export interface VerifyCost {
  readonly numRows: number;
  /** From the call to the drawn tokens. */
  readonly wallMs: number;
  /** wallMs, T(M) / T(1) */
  readonly wallRatio: number;
  /** On the device, passes without gaps; absent where it has no clock. */
  readonly deviceMs?: number;
  /** deviceMs, T(M) / T(1) */
  readonly deviceRatio?: number;
  /** On the host: to encode and submit one pass. */
  readonly hostMs: number;
}

const CONTEXT_LEN = 128;
/** Passes of one submit. */
const DEVICE_PASSES = { gpu: 16, software: 3 } as const;

/** Tokens that a model must hold for T(M) to be measured. */
export function verifyLength(rowCounts: readonly number[]): number {
  return CONTEXT_LEN + Math.max(...rowCounts);
}

/** T(M): chains of M nodes after 128 tokens of context. Rounds go over all M in turn, so that noise falls on all. */
export async function measureVerifyCost(
  model: BenchModel,
  rowCounts: readonly number[],
  numRounds: number,
): Promise<readonly VerifyCost[]> {
  const { chosen: gpu, device, timer } = model;
  const maxRows = Math.max(CONTEXT_LEN, ...rowCounts);
  const maxModelLen = verifyLength(rowCounts);
  if (model.maxModelLen < maxModelLen) throw new RangeError(`${model.name} holds fewer than ${maxModelLen} tokens`);
  const numBlocks = 1 + numBlocksFor(maxModelLen);
  const maxTableWords = numBlocks + maxRows * maxRows;
  const limits = { maxRows, maxLogits: maxRows, maxModelLen, numBlocks, maxTableWords, topK: 1 };
  const runner = await ModelRunner.create(gpu, model, limits);
  const blockTable = Array.from({ length: numBlocks - 1 }, (_, i) => i + 1);
  const tokenIds = Array.from({ length: maxModelLen }, (_, i) => i % model.config.vocabSize);
  const rows = (startPosition: number, numTokens: number) => ({
    ...{ tokenIds, startPosition, numTokens, blockTable, rootPosition: startPosition },
    sampling: { params: GREEDY, choice: 0 },
  });
  const chain = (numNodes: number) => ({
    ...rows(CONTEXT_LEN, 1),
    tree: {
      tokenIds: tokenIds.slice(0, numNodes),
      parents: Array.from({ length: numNodes }, (_, i) => i - 1),
      depths: Array.from({ length: numNodes }, (_, i) => i),
      firstNode: 1,
    },
  });
  const encode = (numRows: number) => {
    const size = runner.sizeOf(numRows, numRows, CONTEXT_LEN + numRows - 1);
    return (pass: GPUComputePassEncoder) => {
      runner.encodeForward(pass, size);
      runner.encodeSample(pass, size);
    };
  };
  await runner.run([rows(0, CONTEXT_LEN)]);

  const wallMs = rowCounts.map((): number[] => []);
  await timer.warmUp();
  for (let round = 0; round <= numRounds; round++) {
    for (const [i, numRows] of rowCounts.entries()) {
      const startMs = performance.now();
      await runner.run([chain(numRows)]);
      if (round > 0) wallMs[i]?.push(performance.now() - startMs);
    }
  }

  const deviceMs: number[] = [];
  const hostMs: number[] = [];
  const numPasses = DEVICE_PASSES[device.traits.software ? "software" : "gpu"];
  for (const numRows of rowCounts) {
    // Leaves this chain's rows where the passes find them.
    await runner.run([chain(numRows)]);
    if (gpu.device.features.has("timestamp-query")) {
      deviceMs.push(median(await timer.time(numPasses, encode(numRows))));
    }
    hostMs.push(await hostTime(gpu.device, encode(numRows), numPasses));
  }
  const ratio = (values: readonly number[], i: number) => (values[i] ?? 0) / (values[0] ?? 1);
  const medians = wallMs.map(median);
  return rowCounts.map((numRows, i) => {
    const device = deviceMs[i];
    return {
      ...{ numRows, wallMs: medians[i] ?? 0, wallRatio: ratio(medians, i), hostMs: hostMs[i] ?? 0 },
      ...(device === undefined ? {} : { deviceMs: device, deviceRatio: ratio(deviceMs, i) }),
    };
  });
}

async function hostTime(
  device: GPUDevice,
  encodePass: (pass: GPUComputePassEncoder) => void,
  numPasses: number,
): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < numPasses; i++) {
    const startMs = performance.now();
    submitPass(device, encodePass);
    times.push(performance.now() - startMs);
    await device.queue.onSubmittedWorkDone();
  }
  return median(times);
}
