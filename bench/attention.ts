import { type Gpu, type GpuContext, submitPass } from "../kernels/index.ts";
import { attentionCore, chooseAttentionKernel, numAttentionSplits } from "../kernels/ops/attention-core.ts";
import type { AttentionKernel, AttentionLayout, AttentionTensors, HeadShape } from "../kernels/ops/attention-types.ts";
import { AttentionData, type AttentionShape } from "./attention-data.ts";
import type { BenchDevice } from "./bench-device.ts";
import { median } from "./median.ts";
import type { Encode } from "./timing.ts";

/** One way to compute it. */
interface AttentionVariant {
  readonly name: string;
  readonly kernel: AttentionKernel;
  readonly splitSize: number;
}

export interface AttentionFigure extends AttentionShape {
  readonly variant: string;
  /** GPU time of a call, the mean of calls in a row: what the GPU's cache holds stays there. */
  readonly warmUs: number;
  /** Median GPU time of a call after a write of more than the GPU's cache. */
  readonly coldUs: number;
  /** Largest error of the sampled results against f64. */
  readonly maxError: number;
}

export const TABLE_SHAPES: readonly AttentionShape[] = [1, 2, 8].flatMap((batch) =>
  [16, 64, 128].flatMap((rows) => [64, 256, 1024, 4096].map((context) => ({ batch, rows, context }))),
);
export const DEFAULT_HEADS: HeadShape = { numHeads: 32, numKvHeads: 32, headDim: 128 };
const CALLS_IN_A_ROW = 20;
const COLD_CALLS = 15;
const FLUSH_BYTES = 2 ** 27;
/** Halves hold results below 1 to 2⁻¹²; weights rounded to halves add 2⁻¹¹. Wrong keys show as errors of 0.01 and more. */
const TOLERANCE = 2 ** -9;

/** "matrix32:512": kernel (portable, subgroup, matrix, or matrix with the tile's rows) and split size. @throws Error */
export function parseVariant(name: string): AttentionVariant {
  const [, kind, rows, split] = /^(portable|subgroup|matrix)(16|32)?:(\d+)$/.exec(name) ?? [];
  const splitSize = Number(split);
  if (kind === "portable" || kind === "subgroup") return { name, kernel: { kind }, splitSize };
  if (kind !== "matrix") throw new Error(`${name} is no variant: say for example subgroup:256 or matrix32:512`);
  const tileRows = Number(rows) as 16 | 32;
  return { name, kernel: rows === undefined ? { kind } : { kind, tileRows }, splitSize };
}

/** "8x64x4096": sequences, tree nodes, cached keys. @throws Error */
export function parseShape(text: string): AttentionShape {
  const [batch = 0, rows = 0, context = 0] = text.split("x").map(Number);
  if (![batch, rows, context].every((size) => Number.isInteger(size) && size > 0)) {
    throw new Error(`${text} is no shape: say for example 8x64x4096`);
  }
  return { batch, rows, context };
}

/** "32x8x64": heads, KV heads, head size, a power of two from 8 to 128 (AttentionData repeats vectors of 128). @throws Error */
export function parseHeads(text: string): HeadShape {
  const [numHeads = 0, numKvHeads = 0, headDim = 0] = text.split("x").map(Number);
  const counts = [numHeads, numKvHeads, numHeads / numKvHeads];
  if (!counts.every((count) => Number.isInteger(count) && count > 0) || ![8, 16, 32, 64, 128].includes(headDim)) {
    throw new Error(`${text} are no heads: say for example 32x8x64, with head sizes of 8, 16, 32, 64 or 128`);
  }
  return { numHeads, numKvHeads, headDim };
}

function defaultVariants({ traits }: Gpu, { family }: GpuContext): readonly AttentionVariant[] {
  const names = traits.matrices
    ? [16, 32].flatMap((rows) => [256, 512, 1024, 2048].map((splitSize) => `matrix${rows}:${splitSize}`))
    : [`${family.name}:${family.splitSize}`];
  return names.map(parseVariant);
}

/**
 * Measures every variant at every shape, in that order. All variants of a shape are made and checked before the first is timed, so
 * that the device has no time to slow down.
 * @throws Error
 */
export async function* measureAttention(
  on: BenchDevice,
  heads: HeadShape,
  shapes: readonly AttentionShape[],
  wanted: readonly AttentionVariant[] | undefined,
): AsyncGenerator<AttentionFigure, void> {
  const { device, gpu } = on;
  const data = new AttentionData(gpu, shapes, heads);
  const flush = device.traits.software ? undefined : gpu.pool.storage(FLUSH_BYTES, "flush");
  for (const shape of shapes) {
    const prepared: PreparedCall[] = [];
    for (const variant of wanted ?? defaultVariants(device, gpu))
      prepared.push(await prepare(gpu, data, shape, variant));
    for (const call of prepared) yield await measure(on, shape, call, flush);
    for (const { buffers } of prepared) {
      for (const buffer of buffers) gpu.pool.destroy(buffer);
    }
  }
}

/** A variant that gave the right result for a shape. */
interface PreparedCall {
  readonly variant: string;
  readonly encode: Encode;
  readonly maxError: number;
  readonly buffers: readonly GPUBuffer[];
}

async function prepare(
  gpu: GpuContext,
  data: AttentionData,
  shape: AttentionShape,
  { name, kernel, splitSize }: AttentionVariant,
): Promise<PreparedCall> {
  const { batch, rows, context } = shape;
  const { numHeads, headDim } = data.heads;
  const tensors: AttentionTensors = {
    ...{ ...data.heads, ioType: "f16", kvType: "f16" },
    ...{ infoHeads: 1, hasBias: false, treeBuffers: true },
  };
  const layout: AttentionLayout = { rowsPerBatch: rows, pageSize: context, splitSize, scale: headDim ** -0.5 };
  if (kernel.kind === "matrix") {
    const can = chooseAttentionKernel({ family: { ...gpu.family, name: "matrix" } }, tensors, layout);
    if (can !== "matrix") throw new Error(`${name} does not fit heads of ${headDim}`);
  }
  const { longest, rowInfo, tables } = data.lists(shape);
  const numSplits = numAttentionSplits(kernel.kind, layout, tensors, longest, context);
  const size = { numRows: batch * rows, numSplits, numLogits: 0 };
  const numPartials = size.numRows * numHeads * numSplits;
  const scratch = {
    rowInfo: gpu.pool.upload(rowInfo, "rowInfo"),
    tables: gpu.pool.upload(tables, "tables"),
    out: gpu.pool.storage(2 * size.numRows * numHeads * headDim, "out"),
    partial: gpu.pool.storage(4 * numPartials * headDim, "partial"),
    stats: gpu.pool.storage(8 * numPartials, "stats"),
  };
  const { q, tree, ...cache } = data.buffers;
  const op = await attentionCore(gpu, kernel, tensors, layout, { q, tree, shards: [cache], ...scratch });
  const call = (pass: GPUComputePassEncoder) => op(pass, size);
  await gpu.guard.run(() => {
    submitPass(gpu.device, call);
    return gpu.device.queue.onSubmittedWorkDone();
  });
  const maxError = await data.maxError(shape, scratch.out);
  if (!(maxError <= TOLERANCE)) {
    throw new Error(
      `${name} at ${batch} × ${rows} × ${context}: wrong by ${maxError}, at most ${TOLERANCE} is rounding`,
    );
  }
  return { variant: name, encode: call, maxError, buffers: Object.values(scratch) };
}

async function measure(
  { timer }: BenchDevice,
  shape: AttentionShape,
  { variant, encode, maxError }: PreparedCall,
  flush: GPUBuffer | undefined,
): Promise<AttentionFigure> {
  const [warmMs = 0] = await timer.time(1, (pass) => {
    for (let i = 0; i < CALLS_IN_A_ROW; i++) encode(pass);
  });
  const coldMs = await timer.time(COLD_CALLS, encode, flush && ((encoder) => encoder.clearBuffer(flush)));
  return { ...shape, variant, warmUs: (1e3 * warmMs) / CALLS_IN_A_ROW, coldUs: 1e3 * median(coldMs), maxError };
}
