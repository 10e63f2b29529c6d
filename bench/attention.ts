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
    ? [
        "matrix16:256",
        "matrix16:512",
        "matrix16:1024",
        "matrix64:256",
        "matrix64:512",
        "matrix64:1024",
        "matrix64:2048",
      ]
    : [`${family.name}:${family.splitSize}`];
  return names.map(parseVariant);
}

/** Measures every variant at every shape, in that order, and checks each result before it is timed. @throws Error */
export async function* measureAttention(
  adapter: AdapterChoice,
  shapes: readonly AttentionShape[],
  wanted: readonly AttentionVariant[] | undefined,
): AsyncGenerator<AttentionFigure, void> {
  const device = await openGpu(adapter);
  const gpu = createGpuContext(device);
  const data = new AttentionData(gpu, shapes, NUM_HEADS, HEAD_DIM);
  const flush = device.traits.software ? undefined : gpu.pool.storage(FLUSH_BYTES, "flush");
  try {
    for (const shape of shapes) {
      for (const variant of wanted ?? defaultVariants(device)) yield await measure(gpu, data, shape, variant, flush);
    }
  } finally {
    gpu.pool.destroyAll();
    device.close();
  }
}

async function measure(
  gpu: GpuContext,
  data: AttentionData,
  shape: AttentionShape,
  { name, kernel, splitSize }: AttentionVariant,
  flush: GPUBuffer | undefined,
): Promise<AttentionFigure> {
  const { batch, rows, context } = shape;
  const tensors: AttentionTensors = {
    ...{ numHeads: NUM_HEADS, numKvHeads: NUM_HEADS, headDim: HEAD_DIM, qHeads: NUM_HEADS },
    ...{ ioType: "f16", kvType: "f16", infoHeads: 1, hasBias: false, treeBuffers: true, window: 0 },
  };
  const layout: AttentionLayout = { rowsPerBatch: rows, pageSize: context, splitSize, scale: HEAD_DIM ** -0.5 };
  if (kernel.kind === "matrix") {
    const can = chooseAttentionKernel({ family: { ...gpu.family, name: "matrix" } }, tensors, layout);
    if (can !== "matrix") throw new Error(`${name} does not fit pages of ${context}`);
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
  const call = (pass: GPUComputePassEncoder) => op(pass, size);
  await time(gpu, 1, call);
  const maxError = await data.maxError(shape, scratch.out);
  if (!(maxError <= TOLERANCE)) {
    throw new Error(
      `${name} at ${batch} × ${rows} × ${context}: wrong by ${maxError}, at most ${TOLERANCE} is rounding`,
    );
  }
  const [warmMs = 0] = await time(gpu, 1, (pass) => {
    for (let i = 0; i < CALLS_IN_A_ROW; i++) call(pass);
  });
  const coldMs = await time(gpu, COLD_CALLS, call, flush);
  for (const buffer of Object.values(scratch)) gpu.pool.destroy(buffer);
  return { ...shape, variant: name, warmUs: (1e3 * warmMs) / CALLS_IN_A_ROW, coldUs: 1e3 * median(coldMs), maxError };
}

/** GPU milliseconds of `numPasses` passes that each do `work`, the buffer `flush` written before each. */
async function time(
  gpu: GpuContext,
  numPasses: number,
  work: (pass: GPUComputePassEncoder) => void,
  flush?: GPUBuffer,
): Promise<readonly number[]> {
  const timer = new PassTimer(gpu.device, gpu.pool, numPasses);
  const times = await gpu.guard.run(async () => {
    const encoder = gpu.device.createCommandEncoder();
    for (let i = 0; i < numPasses; i++) {
      if (flush) encoder.clearBuffer(flush);
      const pass = encoder.beginComputePass({ timestampWrites: timer.writes(i) });
      work(pass);
      pass.end();
    }
    timer.resolve(encoder);
    gpu.device.queue.submit([encoder.finish()]);
    return timer.read();
  });
  return times;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
