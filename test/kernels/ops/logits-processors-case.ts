import { BatchBuilder, batchLayout } from "../../../engine/runner/batch.ts";
import { processorOf } from "../../../engine/runner/logits-processor.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import type { DraftTree } from "../../../engine/speculative/draft-tree.ts";
import {
  type GpuContext,
  logitsStride,
  type ProcessorShape,
  packProcessor,
  processDraftLogits,
  processLogits,
  processorBytes,
  SAMPLING_ROW_BYTES,
} from "../../../kernels/index.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import { call, readF32, submit } from "../../support/gpu.ts";
import type { Random } from "../../support/random.ts";

export const MAX_HISTORY = 90;

/** A sequence in a step: the rows of its last known token and of its draft tree are sampled. */
export interface Case {
  readonly params: SamplingParams;
  readonly tokenIds: readonly number[];
  readonly numPromptTokens: number;
  readonly tree: DraftTree;
}

/** Tokens come from few, so that they repeat, and so do runs of them. */
export function randomCase(random: Random, vocabSize: number): Case {
  const few = Math.min(vocabSize, random.pick([2, 5, 1000]));
  const token = () => random.int(0, few - 1);
  const numTokens = random.int(1, MAX_HISTORY - 10);
  const wishes = Array.from({ length: random.int(0, 8) }, () => [random.int(0, 50), token()] as const);
  const some = (count: number) => random.shuffle(Array.from({ length: vocabSize }, (_, i) => i)).slice(0, count);
  const dry = {
    ...{ multiplier: random.pick([0.5, 2]), base: random.pick([1, 1.75]), allowedLength: random.int(1, 4) },
    ...(random.next() < 0.5 ? { range: random.int(0, 40) } : {}),
    breakers: random.next() < 0.5 ? some(1) : [],
  };
  const tokenIds = Array.from({ length: numTokens }, token);
  return {
    params: {
      ...GREEDY,
      repetitionPenalty: random.pick([1, 1, 1.3, 0.7]),
      presencePenalty: random.pick([0, 0, 1.5, -2]),
      frequencyPenalty: random.pick([0, 0, 0.75, -0.5]),
      logitBias: some(random.int(0, 3)).map((id) => [id, random.pick([-100, -1.5, 0.25, 100])] as const),
      stopTokenIds: some(random.int(0, 2)),
      minTokens: random.int(0, 6),
      ...(random.next() < 0.5 ? { dry } : {}),
    },
    tokenIds,
    numPromptTokens: random.int(Math.max(1, numTokens - 8), numTokens),
    tree: treeFrom(tokenIds.at(-1) ?? 0, wishes),
  };
}

/** Processed logits of every row of every case, in one pass: f32 [vocabSize] each. `drafts`: as rows that draft have them. */
export async function processAll(
  gpu: GpuContext,
  shape: ProcessorShape,
  cases: readonly Case[],
  logits: readonly Float32Array[],
  drafts = false,
) {
  const { vocabSize } = shape;
  const layout = batchLayout(512, 512, 8192);
  const builder = new BatchBuilder(layout);
  for (const { params, tokenIds, numPromptTokens, tree } of cases) {
    const processor = processorOf(params, { tokenIds, numPromptTokens });
    builder.add({
      ...{ tokenIds, startPosition: Math.max(0, tokenIds.length - 3), numTokens: Math.min(3, tokenIds.length) },
      ...{ blockTable: [1, 2, 3, 4, 5, 6, 7, 8], rootPosition: tokenIds.length - 1 },
      ...{ tree: { ...tree, firstNode: 1 }, sampling: { params, choice: 0, processor } },
    });
  }
  const { processors, numLogits } = builder;
  const stride = logitsStride(vocabSize);
  const padded = new Float32Array(numLogits * stride).fill(1e30);
  for (const [i, row] of logits.entries()) padded.set(row, i * stride);
  const packed = new Uint32Array((Math.max(1, processors.length) * processorBytes(shape)) / 4);
  for (const [i, processor] of processors.entries()) {
    packed.set(packProcessor(shape, processor), (i * processorBytes(shape)) / 4);
  }
  const input = new Uint32Array(layout.numBytes / 4);
  new Uint8Array(input.buffer).set(builder.bytes);
  const buffers = {
    batch: { ...layout, buffer: gpu.pool.upload(input, "batch") },
    processors: gpu.pool.upload(packed, "processors"),
    // What an earlier step left there must not matter.
    counts: gpu.pool.upload(new Uint32Array(Math.max(1, processors.length) * vocabSize).fill(9), "counts"),
    logits: gpu.pool.upload(padded, "logits"),
    processed: gpu.pool.storage(4 * numLogits * stride, "processed"),
  };
  const ops = await processLogits(gpu, shape, buffers);
  const rows = {
    buffer: buffers.batch.buffer,
    offset: layout.samplingRows,
    size: SAMPLING_ROW_BYTES * layout.maxLogits,
  };
  const draft = await processDraftLogits(gpu, shape, { ...buffers, rows });
  await submit(gpu, [
    (pass) => ops.count(pass, processors.length),
    ...(drafts ? [draft] : [ops.process, ops.dry]).map((op) => call(op, { numLogits })),
  ]);
  const processed = await readF32(gpu, buffers.processed, numLogits * stride);
  return Array.from({ length: numLogits }, (_, i) => processed.slice(i * stride, i * stride + vocabSize));
}
