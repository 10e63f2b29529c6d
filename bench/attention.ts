import {
  type AdapterChoice,
  createGpuContext,
  type Gpu,
  type GpuContext,
  openGpu,
  PassTimer,
} from "../kernels/index.ts";
import { attentionCore, chooseAttentionKernel, numAttentionSplits } from "../kernels/ops/attention-core.ts";
import type { AttentionKernel, AttentionLayout, AttentionTensors } from "../kernels/ops/attention-types.ts";
import { AttentionData, type AttentionShape } from "./attention-data.ts";

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
const NUM_HEADS = 32;
const HEAD_DIM = 128;
const CALLS_IN_A_ROW = 20;
const COLD_CALLS = 15;
const FLUSH_BYTES = 2 ** 27;
const LONG_WARM_UP_MS = 2000;
const WARM_UP_MS = 100;
const MAX_WARM_UPS = 20_000;
/** Halves hold results below 1 to 2⁻¹²; weights rounded to halves add 2⁻¹¹. Wrong keys show as errors of 0.01 and more. */
const TOLERANCE = 2 ** -9;

/** "matrix64:512": kernel (portable, subgroup, matrix, or matrix with the tile's rows) and split size. @throws Error */
export function parseVariant(name: string): AttentionVariant {
  const [, kind, rows, split] = /^(portable|subgroup|matrix)(16|32|64)?:(\d+)$/.exec(name) ?? [];
  const splitSize = Number(split);
  if (kind === "portable" || kind === "subgroup") return { name, kernel: { kind }, splitSize };
  if (kind !== "matrix") throw new Error(`${name} is no variant: say for example subgroup:256 or matrix64:512`);
  const tileRows = Number(rows) as 16 | 32 | 64;
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

function defaultVariants(gpu: Gpu): readonly AttentionVariant[] {
  const { family } = createGpuContext(gpu);
  const names = gpu.traits.matrices
    ? ["matrix16", "matrix64"].flatMap((kernel) => [256, 512, 1024].map((split) => `${kernel}:${split}`))
    : [`${family.name}:${family.splitSize}`];
  return names.map(parseVariant);
}

/**
 * Checks every variant at every shape, then measures them in that order. A GPU that has been idle runs at a fraction of its clock
 * for about a second, so nothing but measuring happens once it has begun.
 * @throws Error where a result is wrong
 */
export async function* measureAttention(
  adapter: AdapterChoice,
  shapes: readonly AttentionShape[],
  wanted: readonly AttentionVariant[] | undefined,
): AsyncGenerator<AttentionFigure, void> {
  const device = await openGpu(adapter);
  const gpu = createGpuContext(device);
  const data = new AttentionData(gpu, shapes, NUM_HEADS, HEAD_DIM);
  const variants = wanted ?? defaultVariants(device);
  const flush = device.traits.software ? undefined : gpu.pool.storage(FLUSH_BYTES, "flush");
  try {
    const cases: Case[] = [];
    for (const shape of shapes) {
      for (const variant of variants) cases.push({ shape, variant, ...(await check(gpu, data, shape, variant)) });
    }
    for (const [i, one] of cases.entries()) {
      const warmUpMs = device.traits.software ? 0 : i === 0 ? LONG_WARM_UP_MS : WARM_UP_MS;
      yield await measure(gpu, data, one, warmUpMs, flush);
    }
  } finally {
    gpu.pool.destroyAll();
    device.close();
  }
}

/** A call that gave the right result. */
interface Case {
  readonly shape: AttentionShape;
  readonly variant: AttentionVariant;
  readonly maxError: number;
  /** GPU milliseconds of a first call. */
  readonly firstMs: number;
}

async function check(gpu: GpuContext, data: AttentionData, shape: AttentionShape, variant: AttentionVariant) {
  const { call, out, release } = await prepare(gpu, data, shape, variant);
  const [firstMs = 0] = await time(gpu, [call]);
  const maxError = await data.maxError(shape, out);
  release();
  if (!(maxError <= TOLERANCE)) {
    const { batch, rows, context } = shape;
    const what = `${variant.name} at ${batch} × ${rows} × ${context}`;
    throw new Error(`${what}: wrong by ${maxError}, at most ${TOLERANCE} is rounding`);
  }
  return { maxError, firstMs };
}

async function measure(
  gpu: GpuContext,
  data: AttentionData,
  { shape, variant, maxError, firstMs }: Case,
  warmUpMs: number,
  flush: GPUBuffer | undefined,
): Promise<AttentionFigure> {
  const { call, release } = await prepare(gpu, data, shape, variant);
  const repeat = (count: number) => (pass: GPUComputePassEncoder) => {
    for (let i = 0; i < count; i++) call(pass);
  };
  const numWarmUps = Math.min(MAX_WARM_UPS, Math.ceil(warmUpMs / Math.max(firstMs, 0.005)));
  const cold = Array.from({ length: COLD_CALLS }, () => call);
  const [, warmMs = 0, ...coldMs] = await time(gpu, [repeat(numWarmUps), repeat(CALLS_IN_A_ROW), ...cold], 2, flush);
  release();
  const warmUs = (1e3 * warmMs) / CALLS_IN_A_ROW;
  return { ...shape, variant: variant.name, warmUs, coldUs: 1e3 * median(coldMs), maxError };
}

/** The call with its buffers. */
async function prepare(
  gpu: GpuContext,
  data: AttentionData,
  shape: AttentionShape,
  { name, kernel, splitSize }: AttentionVariant,
) {
  const { batch, rows, context } = shape;
  const tensors: AttentionTensors = {
    ...{ numHeads: NUM_HEADS, numKvHeads: NUM_HEADS, headDim: HEAD_DIM, qHeads: NUM_HEADS },
    ...{ ioType: "f16", kvType: "f16", infoHeads: 1, hasBias: false, treeBuffers: true },
  };
  const layout: AttentionLayout = { rowsPerBatch: rows, pageSize: context, splitSize, scale: HEAD_DIM ** -0.5 };
  if (kernel.kind === "matrix") {
    const can = chooseAttentionKernel({ family: { ...gpu.family, name: "matrix" } }, tensors, layout);
    if (can !== "matrix") throw new Error(`${name} needs splits of a multiple of 32`);
  }
  const { longest, rowInfo, tables } = data.lists(shape);
  const numSplits = numAttentionSplits(kernel.kind, layout, tensors, longest, context);
  const size = { numRows: batch * rows, numSplits, numLogits: 0 };
  const numPartials = size.numRows * NUM_HEADS * numSplits;
  const scratch = {
    rowInfo: gpu.pool.upload(rowInfo, "rowInfo"),
    tables: gpu.pool.upload(tables, "tables"),
    out: gpu.pool.storage(2 * size.numRows * NUM_HEADS * HEAD_DIM, "out"),
    partial: gpu.pool.storage(4 * numPartials * HEAD_DIM, "partial"),
    stats: gpu.pool.storage(8 * numPartials, "stats"),
  };
  const op = await attentionCore(gpu, kernel, tensors, layout, { ...data.buffers, ...scratch });
  return {
    call: (pass: GPUComputePassEncoder) => op(pass, size),
    out: scratch.out,
    release() {
      for (const buffer of Object.values(scratch)) gpu.pool.destroy(buffer);
    },
  };
}

/** GPU milliseconds of passes in one submit; from pass `flushFrom` on the buffer `flush` is written before each. */
async function time(
  gpu: GpuContext,
  passes: readonly ((pass: GPUComputePassEncoder) => void)[],
  flushFrom = passes.length,
  flush?: GPUBuffer,
): Promise<readonly number[]> {
  const timer = new PassTimer(gpu.device, gpu.pool, passes.length);
  return gpu.guard.run(async () => {
    const encoder = gpu.device.createCommandEncoder();
    passes.forEach((work, i) => {
      if (flush && i >= flushFrom) encoder.clearBuffer(flush);
      const pass = encoder.beginComputePass({ timestampWrites: timer.writes(i) });
      work(pass);
      pass.end();
    });
    timer.resolve(encoder);
    gpu.device.queue.submit([encoder.finish()]);
    return timer.read();
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
