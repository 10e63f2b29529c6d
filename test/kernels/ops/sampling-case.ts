import { type GpuContext, logitsStride, numChunks, sample } from "../../../kernels/index.ts";
import {
  SAMPLING_ROW_BYTES,
  type SamplerShape,
  type SamplingRow,
  writeSamplingRow,
} from "../../../kernels/ops/sampling.ts";
import { call, readF32, readU32, submit } from "../../support/gpu.ts";

export const PLAIN: SamplingRow = {
  seed: [1, 2],
  choice: 0,
  position: 0,
  temperature: 1,
  topP: 1,
  minP: 0,
  topK: 0,
  typicalP: 1,
};

export interface Drawn {
  /** [topK], best first */
  readonly tokens: readonly number[];
  readonly logShares: readonly number[];
}

/** Draws of all rows in one dispatch: row i's logits are `logits[i]`, each [vocabSize]. */
export async function draw(
  gpu: GpuContext,
  shape: SamplerShape,
  logits: readonly Float32Array[],
  rows: readonly SamplingRow[],
): Promise<Drawn[]> {
  const { vocabSize, topK } = shape;
  const stride = logitsStride(vocabSize);
  // The padding up to the stride wins every draw that looks at it.
  const padded = new Float32Array(rows.length * stride).fill(1e30);
  const parameters = new DataView(new ArrayBuffer(rows.length * SAMPLING_ROW_BYTES));
  rows.forEach((row, i) => {
    padded.set(logits[i] ?? [], i * stride);
    writeSamplingRow(parameters, i, row);
  });
  const scratch = (words: number, label: string) => gpu.pool.storage(4 * words, label);
  const count = rows.length * topK;
  const buffers = {
    logits: gpu.pool.upload(padded, "logits"),
    rows: gpu.pool.upload(parameters, "rows"),
    threshold: scratch(2 * rows.length, "threshold"),
    candidates: scratch(2 * count * numChunks(vocabSize), "candidates"),
    sums: scratch(2 * rows.length * numChunks(vocabSize), "sums"),
    tokens: scratch(count, "tokens"),
    logShares: scratch(count, "logShares"),
  };
  const op = await sample(gpu, shape, buffers);
  await submit(gpu, [call(op, { numLogits: rows.length })]);
  const tokens = await readU32(gpu, buffers.tokens, count);
  const logShares = await readF32(gpu, buffers.logShares, count);
  for (const buffer of Object.values(buffers)) gpu.pool.destroy(buffer);
  return rows.map((_, i) => ({
    tokens: [...tokens.subarray(i * topK, (i + 1) * topK)],
    logShares: [...logShares.subarray(i * topK, (i + 1) * topK)],
  }));
}
