import { OFFSET_UNIT } from "../buffers.ts";
import type { Binding } from "../kernel.ts";
import { inTurn, type Op, type OpContext, threadsOp } from "../op.ts";
import { roundUp } from "./product.ts";
import { logitsStride, numChunks, SAMPLING_ROW_BYTES, type SamplerScratch, sample } from "./sampling.ts";

/** Best tokens of each row whose log-probabilities are given. */
export const NUM_BEST = 20;

/** The scratch is for NUM_BEST tokens a row. */
export interface LogProbBuffers extends SamplerScratch {
  /** f32 [numLogits, logitsStride(vocabSize)]: raw */
  readonly logits: GPUBuffer;
  /** u32 [numLogits]: what was drawn, from whatever the logits became */
  readonly drawn: Binding;
  /** SamplingRow [numLogits], all zero: greedy rows, whose shares are log-probabilities */
  readonly greedyRows: GPUBuffer;
  /** Laid out as `logProbLayout` says. */
  readonly results: GPUBuffer;
}

/** Sizes in bytes of the buffers that only log-probabilities need, and where the results lie. */
export function logProbLayout(vocabSize: number, maxLogits: number) {
  const bestBytes = 4 * maxLogits * NUM_BEST;
  const section = roundUp(bestBytes, OFFSET_UNIT);
  return {
    greedyRowBytes: maxLogits * SAMPLING_ROW_BYTES,
    candidateBytes: 8 * maxLogits * numChunks(vocabSize) * NUM_BEST,
    /** u32 and f32 [numLogits, NUM_BEST], best first; NO_TOKEN where a vocabulary has fewer */
    best: { offset: 0, size: bestBytes },
    bestLogProbs: { offset: section, size: bestBytes },
    /** f32 [numLogits], of the drawn tokens */
    drawnLogProbs: { offset: 2 * section, size: 4 * maxLogits },
    resultBytes: 2 * section + 4 * maxLogits,
  };
}

/** Log softmax of the raw logits: of each row's best tokens, and of the one that was drawn (wgsl/drawn_log_prob.wgsl). */
export function logProbs(
  context: OpContext,
  { vocabSize, maxLogits }: { readonly vocabSize: number; readonly maxLogits: number },
  buffers: LogProbBuffers,
): Promise<Op> {
  const { logits, drawn, greedyRows, results } = buffers;
  const layout = logProbLayout(vocabSize, maxLogits);
  const group = 8;
  return inTurn([
    sample(
      context,
      { vocabSize, topK: NUM_BEST, withShares: true },
      {
        ...{ ...buffers, rows: greedyRows, tokens: { buffer: results, ...layout.best } },
        logShares: { buffer: results, ...layout.bestLogProbs },
      },
    ),
    threadsOp(
      context,
      {
        shader: ["drawn_log_prob"],
        constants: {
          ...{ VOCAB_SIZE: vocabSize, LOGITS_STRIDE: logitsStride(vocabSize), NUM_BEST, WORKGROUP_SIZE: group },
          ...{ BEST: layout.best.offset / 4, BEST_LOG_PROBS: layout.bestLogProbs.offset / 4 },
          DRAWN_LOG_PROBS: layout.drawnLogProbs.offset / 4,
        },
        numImmediates: 1,
      },
      [logits, drawn, results],
      group,
      ({ numLogits }) => numLogits,
      ({ numLogits }) => [numLogits],
    ),
  ]);
}
