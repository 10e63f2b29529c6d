import type { BufferPool } from "../buffers.ts";
import type { Binding, KernelSpec } from "../kernel.ts";
import { type Op, type OpContext, threadsOp } from "../op.ts";
import { MATRIX_MAX_HEAD_DIM, MATRIX_SPLIT_UNIT, matrixOp } from "./attention-matrix.ts";
import type {
  AttentionBuffers,
  AttentionKernel,
  AttentionLayout,
  AttentionTensors,
  HeadShape,
  RowTile,
  ShardTensors,
} from "./attention-types.ts";
import { activationWriter } from "./product.ts";

/** The kernel of a device for these tensors. It never depends on the rows of a pass. */
export function chooseAttentionKernel(
  { family }: Pick<OpContext, "family">,
  tensors: Pick<AttentionTensors, "headDim" | "kvType">,
  layout: Pick<AttentionLayout, "splitSize">,
): AttentionKernel["kind"] {
  const { headDim, kvType } = tensors;
  const isWhole = headDim % 16 === 0 && headDim <= MATRIX_MAX_HEAD_DIM && layout.splitSize % MATRIX_SPLIT_UNIT === 0;
  const fits = kvType === "f16" && isWhole;
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

/** Bytes that partial results may take: a pass that needs more runs in tiles of rows, each with work for a whole device. */
const MOST_PARTIAL_BYTES = 2 ** 28;

/** Rows × heads × splits that there is to be scratch for, where passes have up to `numRows` rows of up to `numSplits` splits. */
export function numAttentionPartials(
  { maxBytes }: Pick<BufferPool, "maxBytes">,
  { numHeads, headDim }: Pick<HeadShape, "numHeads" | "headDim">,
  numRows: number,
  numSplits: number,
): number {
  const rowBytes = 4 * numHeads * numSplits * headDim;
  const tileRows = Math.max(1, Math.floor(Math.min(MOST_PARTIAL_BYTES, maxBytes) / rowBytes));
  return Math.min(numRows, tileRows) * numHeads * numSplits;
}

/** Attention of every row to its own keys. A pass's `numSplits` is at least `numAttentionSplits` of its longest row. */
export async function attentionCore(
  context: OpContext,
  kernel: AttentionKernel,
  tensors: AttentionTensors,
  layout: AttentionLayout,
  buffers: AttentionBuffers,
): Promise<Op> {
  const { shards, partial, stats } = buffers;
  const { numHeads, numKvHeads, headDim } = tensors;
  const sizes = { rowHeads: numHeads, numHeads: numHeads / shards.length, numKvHeads: numKvHeads / shards.length };
  const own: ShardTensors = { ...tensors, ...sizes };
  const [merge, ...parts] = await Promise.all([
    mergeOp(context, kernel, own, layout, buffers),
    ...shards.map((_, shard) => partsOp(context, kernel, own, layout, buffers, shard)),
  ]);
  const numPartials = Math.min(Math.floor(partial.size / (4 * headDim)), Math.floor(stats.size / 8));
  return (pass, size) => {
    const { numRows, numSplits, numLogits } = size;
    const tileRows = numSplits > 1 ? Math.max(1, Math.floor(numPartials / (numHeads * numSplits))) : numRows;
    for (let firstRow = 0; firstRow < numRows; firstRow += tileRows) {
      // Field by field: V8 takes some 1.5 µs where a field that is new follows a spread.
      const tile = { numRows: Math.min(tileRows, numRows - firstRow), numSplits, numLogits, firstRow };
      for (const op of parts) op(pass, tile);
      if (numSplits > 1) merge(pass, tile);
    }
  };
}

function partsOp(
  context: OpContext,
  kernel: AttentionKernel,
  tensors: ShardTensors,
  layout: AttentionLayout,
  buffers: AttentionBuffers,
  shard: number,
): Promise<Op<RowTile>> {
  const { numHeads } = tensors;
  const words = immediates(layout, shard);
  const bindings = bindingsOf(buffers, shard);
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
  const items = ({ numRows, numSplits }: RowTile) => numRows * numSplits * (portable ? numRuns : numHeads);
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
  tensors: ShardTensors,
  layout: AttentionLayout,
  { out, partial, stats, rowInfo }: AttentionBuffers,
): Promise<Op<RowTile>> {
  const { rowHeads, headDim } = tensors;
  const workgroupSize = kernel.kind === "portable" ? 16 : 64;
  const writer = resultWriter(context, tensors);
  const spec: KernelSpec = {
    shader: [...writer.shader, "attention_merge"],
    constants: { ...constantsOf(kernel, tensors), ...writer.constants, WORKGROUP_SIZE: workgroupSize },
    enables: writer.enables,
    numImmediates: NUM_IMMEDIATES,
  };
  const threads = ({ numRows }: RowTile) => numRows * rowHeads * (headDim / 4);
  return threadsOp(context, spec, [out, partial, stats, rowInfo], workgroupSize, threads, immediates(layout, 0));
}

const NUM_IMMEDIATES = 8;

/** The words of `Params` (attention_rows.wgsl). */
function immediates({ rowsPerBatch, pageSize, splitSize, scale }: AttentionLayout, shard: number) {
  const scaleBits = new Uint32Array(Float32Array.of(scale).buffer)[0] ?? 0;
  return ({ numRows, numSplits, firstRow }: RowTile) => [
    numRows,
    numSplits,
    rowsPerBatch,
    pageSize,
    splitSize,
    scaleBits,
    firstRow,
    shard,
  ];
}

function constantsOf({ kind }: AttentionKernel, tensors: ShardTensors) {
  return {
    ROW_HEADS: tensors.rowHeads,
    NUM_HEADS: tensors.numHeads,
    NUM_KV_HEADS: tensors.numKvHeads,
    HEAD_DIM: tensors.headDim,
    INFO_HEADS: tensors.infoHeads,
    MATRIX: kind === "matrix" ? 1 : 0,
    HAS_BIAS: tensors.hasBias ? 1 : 0,
    TREE_BUFFERS: tensors.treeBuffers ? 1 : 0,
    HEAD_MAJOR: tensors.treeBuffers ? 1 : 0,
  };
}

/** Rows as queries lie, or the input of the family's products. */
function resultWriter({ family }: OpContext, { ioType, rowHeads, headDim, activationRows }: ShardTensors) {
  const shader = [`io_${ioType}`, "attention_rows"];
  if (activationRows === undefined) return { shader: [...shader, "attention_out_rows"], constants: {}, enables: [] };
  const writer = activationWriter(family, { maxRows: activationRows, numInputs: rowHeads * headDim });
  return { ...writer, shader: [...shader, ...writer.shader, "attention_out_activation"] };
}

function specOf(
  context: OpContext,
  kernel: AttentionKernel,
  tensors: ShardTensors,
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
function bindingsOf(b: AttentionBuffers, shard: number): readonly Binding[] {
  const caches = b.shards.slice(shard, shard + 1).flatMap(({ kCache, vCache }) => [kCache, vCache]);
  const common = [b.out, ...caches, b.rowInfo, b.tables, b.q, b.partial, b.stats];
  return b.tree ? [...common, b.tree.k, b.tree.v] : common;
}
