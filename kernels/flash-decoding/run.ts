import type { GpuContext } from "../gpu-context.ts";
import type { Binding } from "../kernel.ts";
import {
  attentionCore,
  chooseAttentionKernel,
  numAttentionPartials,
  numAttentionSplits,
} from "../ops/attention-core.ts";
import { type AttentionListsShape, attentionLists, listWords } from "../ops/attention-lists.ts";
import { MATRIX_SPLIT_UNIT } from "../ops/attention-matrix.ts";
import type { AttentionLayout, AttentionTensors } from "../ops/attention-types.ts";
import { submitPass } from "../submit-pass.ts";
import type { CheckedArgs } from "./arguments.ts";
import { byteSize, type CheckedTensor, type Tensor } from "./tensor.ts";

/** Workgroups that a split of the cache should at least give a GPU to do. */
const WANTED_GROUPS = 512;
/** Keys of a split at least: less is not worth its merging. */
const LEAST_SPLIT = 256;

/** Runs the operator on one device. Buffers that are not the caller's live for the call. @throws GpuError */
export async function runFlashDecoding(gpu: GpuContext, args: CheckedArgs): Promise<Tensor> {
  const { q, output } = args.tensors;
  const result = { shape: q.shape, dtype: args.dtype };
  if (byteSize(q.shape, args.dtype) === 0) return { ...result, data: output?.data ?? q.data };
  const temporary: GPUBuffer[] = [];
  try {
    const data = await compute(gpu, args, (buffer) => {
      temporary.push(buffer);
      return buffer;
    });
    return { ...result, data };
  } finally {
    for (const buffer of temporary) gpu.pool.destroy(buffer);
  }
}

async function compute(
  gpu: GpuContext,
  args: CheckedArgs,
  keep: (buffer: GPUBuffer) => GPUBuffer,
): Promise<Tensor["data"]> {
  const { bsz, qLen, headDim, tensors: given } = args;
  const plan = planCall(gpu, args);
  const scratch = (bytes: number, label: string) => keep(gpu.pool.storage(bytes, label));
  const onDevice = ({ data, name }: CheckedTensor) => ("byteLength" in data ? keep(upload(gpu, data, name)) : data);
  const numPartials = numAttentionPartials(gpu.pool, args, plan.size.numRows, plan.size.numSplits);
  const outBytes = byteSize(given.q.shape, args.dtype);
  const out = outputBuffer(gpu, args, outBytes, keep);
  const lists = {
    rowInfo: scratch(16 * bsz * qLen * args.maskHeads, "rowInfo"),
    tables: scratch(4 * listWords(plan.lists), "tables"),
  };
  const pages = plan.pages === undefined ? undefined : keep(gpu.pool.upload(plan.pages, "pages"));
  const [makeLists, attend] = await Promise.all([
    attentionLists(gpu, plan.lists, {
      mask: onDevice(given.mask),
      lengths: onDevice(given.kvSeqLen),
      pages: pages ?? onDevice(given.blockTable ?? given.kvSeqLen),
      ...lists,
    }),
    attentionCore(gpu, { kind: plan.kind }, plan.tensors, plan.layout, {
      ...{ q: onDevice(given.q), shards: [{ kCache: onDevice(given.kCache), vCache: onDevice(given.vCache) }] },
      ...{ ...lists, out },
      partial: callersOr(given.midOutput, () => scratch(4 * numPartials * headDim, "midOutput")),
      stats: callersOr(given.midOutputLse, () => scratch(8 * numPartials, "midOutputLse")),
      tree: { k: onDevice(given.currentK), v: onDevice(given.currentV) },
    }),
  ]);
  const bytes = await gpu.guard.run(async () => {
    submitPass(gpu.device, (pass) => {
      makeLists(pass, plan.size);
      attend(pass, plan.size);
    });
    return args.onDevice ? undefined : gpu.pool.read(out, 0, outBytes);
  });
  return bytes === undefined ? out : hostResult(args, bytes);
}

/** How a call is computed: sizes, layouts, and the kernel. */
function planCall(gpu: GpuContext, args: CheckedArgs) {
  const { bsz, numHeads, numKvHeads, qLen, headDim, dtype, maxSeqLen, blockSize, scale, maskHeads } = args;
  const { mask, blockTable } = args.tensors;
  const maxPages = blockTable?.shape[1] ?? 1;
  const hasPages = blockTable !== undefined && maxPages > 0;
  const maskType = mask.dtype === "bool" ? "bool" : mask.dtype === "f16" ? "f16" : "f32";
  const lists: AttentionListsShape = {
    ...{ numBatches: bsz, qLen, maskType, maskBatches: args.maskBatches, infoHeads: maskHeads },
    ...{ maxPages: Math.max(1, maxPages), numPages: Math.max(1, args.numPages), maxLen: maxSeqLen },
  };
  const tensors: AttentionTensors = {
    ...{ numHeads, numKvHeads, headDim, ioType: dtype, kvType: dtype, infoHeads: maskHeads },
    ...{ hasBias: maskType !== "bool", treeBuffers: true },
  };
  const pageSize = Math.max(1, args.pageSize);
  const kind = chooseAttentionKernel(gpu, tensors, { splitSize: LEAST_SPLIT });
  const splitSize = chooseSplit(
    kind === "matrix" ? leastMultiple(blockSize, MATRIX_SPLIT_UNIT) : blockSize,
    maxSeqLen,
    bsz * numKvHeads,
  );
  const layout: AttentionLayout = { rowsPerBatch: qLen, pageSize, splitSize, scale };
  const numSplits = numAttentionSplits(kind, layout, tensors, maxSeqLen + qLen, maxSeqLen);
  // Without a table each sequence has its own page, in order.
  const pages = hasPages ? undefined : Uint32Array.from({ length: bsz }, (_, batch) => batch);
  return { kind, lists, tensors, layout, pages, size: { numRows: bsz * qLen, numSplits, numLogits: 0 } };
}

/** Whole blocks to a split: as few splits as keep the device busy. */
function chooseSplit(blockSize: number, maxSeqLen: number, numGroups: number): number {
  const perSplit = Math.ceil((maxSeqLen * numGroups) / WANTED_GROUPS);
  return Math.ceil(Math.max(perSplit, LEAST_SPLIT) / blockSize) * blockSize;
}

function leastMultiple(a: number, b: number): number {
  const divisor = (x: number, y: number): number => (y === 0 ? x : divisor(y, x % y));
  return (a / divisor(a, b)) * b;
}

/** Buffers are written in whole words. */
function upload({ pool }: GpuContext, data: Exclude<Tensor["data"], GPUBuffer>, label: string): GPUBuffer {
  const bytes = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return pool.upload(bytes, label);
}

/** The caller's scratch where it is on the device; on the host it would only be copied about. */
function callersOr(tensor: CheckedTensor | undefined, make: () => Binding): Binding {
  return tensor !== undefined && !("byteLength" in tensor.data) ? tensor.data : make();
}

/** The caller's, or one that the caller comes to own, or for results on the host one of this call. */
function outputBuffer(
  gpu: GpuContext,
  { tensors, onDevice }: CheckedArgs,
  bytes: number,
  keep: (buffer: GPUBuffer) => GPUBuffer,
): GPUBuffer {
  const { output } = tensors;
  if (output && !("byteLength" in output.data)) return output.data;
  if (!onDevice) return keep(gpu.pool.storage(bytes, "output"));
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  return gpu.device.createBuffer({ label: "output", size: Math.ceil(bytes / 16) * 16, usage });
}

function hostResult({ tensors, dtype }: CheckedArgs, bytes: ArrayBuffer): Tensor["data"] {
  const values = dtype === "f16" ? new Uint16Array(bytes) : new Float32Array(bytes);
  const target = tensors.output?.data;
  if (target === undefined || !("byteLength" in target)) return values;
  target.set(values);
  return target;
}
