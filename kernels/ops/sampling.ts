import type { BufferPool } from "../buffers.ts";
import type { Binding } from "../kernel.ts";
import { inTurn, type Op, type OpContext, threadsOp } from "../op.ts";

/** Bytes of one row's sampling parameters (wgsl/sampling_params.wgsl). */
export const SAMPLING_ROW_BYTES = 40;
/** What `tokens` holds where no token was left to choose from: every logit was NaN or −∞. */
export const NO_TOKEN = 0xffffffff;

/** How one row is drawn. */
export interface SamplingRow {
  readonly seed: readonly [low: number, high: number];
  readonly choice: number;
  /** Absolute position of the token to draw. */
  readonly position: number;
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topP: number;
  readonly minP: number;
  readonly topK: number;
  /** Typical mass in (0, 1]; 1 is off. */
  readonly typicalP: number;
  /** Where the sequence's logits processor lies (ops/logits-processors.ts); absent where it needs none. */
  readonly processor?: number;
}

/**
 * What a row's logits are multiplied by; 0 for a greedy row. Kept within 1e-30 … 1e5: beyond, f32 would flush it to 0 (which
 * means greedy) or make products infinite, and no distribution would show the difference.
 */
export function inverseTemperature(temperature: number): number {
  return temperature === 0 ? 0 : Math.min(Math.max(1 / temperature, 1e-30), 1e5);
}

/** Smaller ones would keep nothing, by the precision of f32. */
const LEAST_TYPICAL_P = 1e-30;

/** Writes row `index` of a sampling buffer. */
export function writeSamplingRow(view: DataView, index: number, row: SamplingRow): void {
  const at = index * SAMPLING_ROW_BYTES;
  view.setUint32(at, row.seed[0], true);
  view.setUint32(at + 4, row.seed[1], true);
  view.setUint32(at + 8, row.choice, true);
  view.setUint32(at + 12, row.position, true);
  view.setFloat32(at + 16, inverseTemperature(row.temperature), true);
  view.setFloat32(at + 20, row.topP, true);
  view.setFloat32(at + 24, row.minP, true);
  view.setUint32(at + 28, row.topK, true);
  view.setFloat32(at + 32, Math.max(LEAST_TYPICAL_P, row.typicalP), true);
  view.setUint32(at + 36, row.processor === undefined ? 0 : row.processor + 1, true);
}

export interface SamplerShape {
  readonly vocabSize: number;
  /** Best tokens kept of each row: 1 to sample, more to propose. */
  readonly topK: number;
  /** Also give each kept token's share: log softmax over the scores (logit / T + noise) of all tokens that pass the filters. */
  readonly withShares: boolean;
}

/** Floats from one row of logits to the next: products make up to 32 outputs at a time. */
export function logitsStride(vocabSize: number): number {
  return Math.ceil(vocabSize / 32) * 32;
}

/** Of the kernels with barriers: threads of a workgroup, and tokens of a chunk that each has. */
const GROUP = { threads: 256, tokens: 4 } as const;

/** Chunks of a row that `SamplerBuffers` must have room for. */
export function numChunks(vocabSize: number): number {
  return Math.ceil(vocabSize / chunkSize(vocabSize));
}

/** Of a thread's chunk. Near √V, so that neither the chunks nor their merge is the long pole, and no more than a workgroup's: scratch is for either. */
function chunkSize(vocabSize: number): number {
  return Math.min(GROUP.threads * GROUP.tokens, 2 ** Math.max(5, Math.round(Math.log2(vocabSize) / 2)));
}

/** What a draw keeps between its kernels. */
export interface SamplerScratch {
  /** vec2f [numLogits] */
  readonly threshold: GPUBuffer;
  /** 8 bytes × numLogits · numChunks · topK */
  readonly candidates: GPUBuffer;
  /** 8 bytes × numLogits · numChunks */
  readonly sums: GPUBuffer;
}

/** Scratch for draws of `maxLogits` rows. */
export function samplerScratch(
  pool: BufferPool,
  { vocabSize, topK }: Pick<SamplerShape, "vocabSize" | "topK">,
  maxLogits: number,
): SamplerScratch {
  const numPartial = maxLogits * numChunks(vocabSize);
  return {
    threshold: pool.storage(8 * maxLogits, "threshold"),
    candidates: pool.storage(8 * numPartial * topK, "candidates"),
    sums: pool.storage(8 * numPartial, "sums"),
  };
}

export interface SamplerBuffers extends SamplerScratch {
  /** f32 [numLogits, logitsStride(vocabSize)] */
  readonly logits: GPUBuffer;
  /** SamplingRow [numLogits] */
  readonly rows: Binding;
  /** u32 [numLogits, topK] */
  readonly tokens: Binding;
  /** f32 [numLogits, topK] */
  readonly logShares: Binding;
}

/** Threads that look through a whole row for its cut, at most. */
const CUT_THREADS = 1024;

/** Draws the topK best tokens of each row by Gumbel-max over the filtered distribution (wgsl/top_k_partial.wgsl). */
export async function sample(context: OpContext, shape: SamplerShape, buffers: SamplerBuffers): Promise<Op> {
  const { vocabSize, topK } = shape;
  const { logits, rows, threshold, candidates, sums, tokens, logShares } = buffers;
  // Portable kernels have a thread for each row or chunk; the others a workgroup.
  const grouped = context.family.name !== "portable";
  const chunk = grouped ? GROUP.threads * GROUP.tokens : chunkSize(vocabSize);
  const chunks = Math.ceil(vocabSize / chunk);
  const common = {
    ...{ VOCAB_SIZE: vocabSize, LOGITS_STRIDE: logitsStride(vocabSize), TOP_K: topK },
    ...{ NUM_CHUNKS: chunks, CHUNK: chunk, WITH_SUMS: shape.withShares ? 1 : 0 },
  };
  const stage = (shader: readonly string[], bindings: readonly Binding[], workgroupSize: number, perRow = 1) =>
    threadsOp(
      context,
      { shader, constants: { ...common, WORKGROUP_SIZE: workgroupSize }, numImmediates: 1 },
      bindings,
      grouped ? 1 : workgroupSize,
      ({ numLogits }) => numLogits * perRow,
      ({ numLogits }) => [numLogits],
    );
  const [cut, best, merged] = [
    [logits, rows, threshold],
    [logits, rows, threshold, candidates, sums],
    [candidates, sums, tokens, logShares],
  ] as const;
  const params = "sampling_params";
  const cutThreads = Math.min(CUT_THREADS, context.kernels.maxWorkgroupSize);
  return inTurn(
    grouped
      ? [
          stage([params, "order_bits", "sample_threshold_group"], cut, cutThreads),
          stage(["gumbel", params, "group_best", "group_sum", "top_k_partial_group"], best, GROUP.threads, chunks),
          stage([params, "group_best", "group_sum", "top_k_merge_group"], merged, GROUP.threads),
        ]
      : [
          stage([params, "order_bits", "sample_threshold"], cut, 4),
          stage(["gumbel", params, "top_k_partial"], best, 8, chunks),
          stage([params, "top_k_merge"], merged, 4),
        ],
  );
}
