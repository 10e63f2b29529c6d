import type { Binding, KernelSpec } from "../kernel.ts";
import { type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";
import { MATRIX_SPLIT_UNIT, matrixOp } from "./attention-matrix.ts";
import type { AttentionBuffers, AttentionKernel, AttentionLayout, AttentionTensors } from "./attention-types.ts";
import { activationWriter } from "./product.ts";

/** The kernel of a device for these tensors. It never depends on the rows of a pass. */
export function chooseAttentionKernel(
  { family }: Pick<OpContext, "family">,
  tensors: Pick<AttentionTensors, "headDim" | "kvType">,
  layout: Pick<AttentionLayout, "splitSize">,
): AttentionKernel["kind"] {
  const fits = tensors.kvType === "f16" && tensors.headDim % 16 === 0 && layout.splitSize % MATRIX_SPLIT_UNIT === 0;
  if (family.name === "matrix" && fits) return "matrix";
  return family.name === "portable" ? "portable" : "subgroup";
}

/**
 * Splits of a pass whose longest row has `maxKeys` keys, at most `maxLinear` of them by its table. One split needs no merging.
 */
export function numAttentionSplits(
  kind: AttentionKernel["kind"],
  { splitSize }: Pick<AttentionLayout, "splitSize">,
  { treeBuffers }: Pick<AttentionTensors, "treeBuffers">,
  maxKeys: number,
  maxLinear: number = maxKeys,
): number {
  return Math.max(1, Math.ceil((kind === "matrix" && treeBuffers ? maxLinear : maxKeys) / splitSize));
}

/** Attention of every row to its own keys. A pass's `numSplits` is at least `numAttentionSplits` of its longest row. */
export async function attentionCore(
  context: OpContext,
  kernel: AttentionKernel,
  tensors: AttentionTensors,
  layout: AttentionLayout,
  buffers: AttentionBuffers,
): Promise<Op> {
  const [parts, merge] = await Promise.all([
    partsOp(context, kernel, tensors, layout, buffers),
    mergeOp(context, kernel, tensors, layout, buffers),
  ]);
  return (pass, size) => {
    parts(pass, size);
    if (size.numSplits > 1) merge(pass, size);
  };
}

function partsOp(
  context: OpContext,
  kernel: AttentionKernel,
  tensors: AttentionTensors,
  layout: AttentionLayout,
  buffers: AttentionBuffers,
): Promise<Op> {
  const { numHeads } = tensors;
  const words = immediates(layout);
  const bindings = bindingsOf(buffers);
  if (kernel.kind === "matrix") {
    return matrixOp(context, kernel, tensors, specOf(context, kernel, tensors, []), bindings, words);
  }
  const portable = kernel.kind === "portable";
  const workgroupSize = portable ? 4 : 64;
  // What a thread of the portable kernel has: 4 heads of a KV group, or 1 where heads have keys of their own.
  const runHeads = tensors.infoHeads === 1 ? 4 : 1;
  const numRuns = tensors.numKvHeads * Math.ceil(numHeads / tensors.numKvHeads / runHeads);
  const spec = specOf(context, kernel, tensors, [
    ...keyReader(tensors),
    portable ? "attention_portable" : "attention_subgroup",
  ]);
  const own = portable ? { CHUNK: 64, HEADS: runHeads } : { CHUNK: 256 };
  const constants = { ...spec.constants, WORKGROUP_SIZE: workgroupSize, ...own };
  // The portable kernel has a thread for each item, the other one a workgroup.
  const items = ({ numRows, numSplits }: PassSize) => numRows * numSplits * (portable ? numRuns : numHeads);
  return threadsOp(context, { ...spec, constants }, bindings, portable ? workgroupSize : 1, items, words);
}

/** The files that read keys and values. */
function keyReader({ kvType, treeBuffers }: AttentionTensors): readonly string[] {
  if (kvType === "q8") return ["attention_keys_cache_q8"];
  return [`kv_${kvType}`, treeBuffers ? "attention_keys_tree" : "attention_keys_cache"];
}

function mergeOp(
  context: OpContext,
  kernel: AttentionKernel,
  tensors: AttentionTensors,
  layout: AttentionLayout,
  { out, partial, stats, rowInfo }: AttentionBuffers,
): Promise<Op> {
  const { numHeads, headDim } = tensors;
  const workgroupSize = kernel.kind === "portable" ? 16 : 64;
  const writer = resultWriter(context, tensors);
  const spec: KernelSpec = {
    shader: [...writer.shader, "attention_merge"],
    constants: { ...constantsOf(kernel, tensors), ...writer.constants, WORKGROUP_SIZE: workgroupSize },
    enables: writer.enables,
    numImmediates: NUM_IMMEDIATES,
  };
  const threads = ({ numRows }: PassSize) => numRows * numHeads * (headDim / 4);
  return threadsOp(context, spec, [out, partial, stats, rowInfo], workgroupSize, threads, immediates(layout));
}

const NUM_IMMEDIATES = 6;

/** The words of `Params` (attention_rows.wgsl). */
function immediates({ rowsPerBatch, pageSize, splitSize, scale }: AttentionLayout) {
  const scaleBits = new Uint32Array(Float32Array.of(scale).buffer)[0] ?? 0;
  return ({ numRows, numSplits }: PassSize) => [numRows, numSplits, rowsPerBatch, pageSize, splitSize, scaleBits];
}

function constantsOf({ kind }: AttentionKernel, tensors: AttentionTensors) {
  return {
    NUM_HEADS: tensors.numHeads,
    NUM_KV_HEADS: tensors.numKvHeads,
    HEAD_DIM: tensors.headDim,
    INFO_HEADS: tensors.infoHeads,
    MATRIX: kind === "matrix" ? 1 : 0,
    Q_HEADS: tensors.qHeads,
    HAS_BIAS: tensors.hasBias ? 1 : 0,
    TREE_BUFFERS: tensors.treeBuffers ? 1 : 0,
    HEAD_MAJOR: tensors.treeBuffers ? 1 : 0,
  };
}

/** Rows as queries lie, or the input of the family's products. */
function resultWriter({ family }: OpContext, { ioType, numHeads, headDim, activationRows }: AttentionTensors) {
  const shader = [`io_${ioType}`, "attention_rows"];
  if (activationRows === undefined) return { shader: [...shader, "attention_out_rows"], constants: {}, enables: [] };
  const writer = activationWriter(family, { maxRows: activationRows, numInputs: numHeads * headDim });
  return { ...writer, shader: [...shader, ...writer.shader, "attention_out_activation"] };
}

function specOf(
  context: OpContext,
  kernel: AttentionKernel,
  tensors: AttentionTensors,
  shader: readonly string[],
): KernelSpec {
  const writer = resultWriter(context, tensors);
  return {
    shader: [...writer.shader, "attention_result", ...shader],
    constants: { ...constantsOf(kernel, tensors), ...writer.constants },
    enables: writer.enables,
    numImmediates: NUM_IMMEDIATES,
  };
}

/** In the order of the binding numbers of the .wgsl files. */
function bindingsOf(b: AttentionBuffers): readonly Binding[] {
  const common = [b.out, b.kCache, b.vCache, b.rowInfo, b.tables, b.q, b.partial, b.stats];
  return b.tree ? [...common, b.tree.k, b.tree.v] : common;
}
