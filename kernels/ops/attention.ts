import type { Binding, KernelSpec } from "../kernel.ts";
import { type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";
import { storageEnables } from "./storage.ts";

/** Heads of one attention layer; query head h reads KV head ⌊h · numKvHeads / numHeads⌋. */
export interface HeadShape {
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** A multiple of 8. */
  readonly headDim: number;
}

/** u32 words of one row of `rowInfo`: table offset, position, linear length, path offset. */
export const ROW_INFO_WORDS = 4;

export interface AttentionArgs {
  /** f32 [numRows, numHeads + 2 · numKvHeads, headDim]; only Q is read. */
  readonly qkv: GPUBuffer;
  readonly kCache: Binding;
  readonly vCache: Binding;
  /** u32 [numRows, 4] and the tables it points into (wgsl/attention_slots.wgsl). */
  readonly rowInfo: Binding;
  readonly tables: Binding;
  /** Scratch: f32 [numRows, numHeads, numSplits, headDim] and f32 [numRows, numHeads, numSplits, 2]. */
  readonly partial: GPUBuffer;
  readonly stats: GPUBuffer;
  /** f32 [numRows, numHeads, headDim] */
  readonly out: GPUBuffer;
  readonly blockSize: number;
}

/**
 * Tree attention over the paged cache: each row attends to every position up to its own, found through its sequence's
 * block table and its own path of tree slots. Splits of a fixed size in absolute positions, folded in ascending order.
 */
export async function attention(context: OpContext, heads: HeadShape, args: AttentionArgs): Promise<Op> {
  const [partial, merge] = await Promise.all([partialOp(context, heads, args), mergeOp(context, heads, args)]);
  return (pass, size) => {
    partial(pass, size);
    merge(pass, size);
  };
}

function constants(context: OpContext, heads: HeadShape, blockSize: number) {
  return {
    kv_t: context.family.storage,
    NUM_HEADS: heads.numHeads,
    NUM_KV_HEADS: heads.numKvHeads,
    HEAD_DIM: heads.headDim,
    BLOCK_SIZE: blockSize,
    SPLIT: context.family.splitSize,
    SCALE: 1 / Math.sqrt(heads.headDim),
  };
}

/** Query heads of one KV head that a thread of the portable family computes at once (wgsl/attention_partial.wgsl). */
const HEADS_PER_RUN = 4;

const sizes = (size: PassSize) => [size.numRows, size.numSplits];

async function partialOp(context: OpContext, heads: HeadShape, args: AttentionArgs): Promise<Op> {
  const portable = context.family.name === "portable";
  const workgroupSize = portable ? 4 : 64;
  const spec: KernelSpec = {
    shader: ["attention_slots", portable ? "attention_partial" : "attention_partial_subgroup"],
    constants: { ...constants(context, heads, args.blockSize), WORKGROUP_SIZE: workgroupSize },
    enables: storageEnables(context.family),
    numImmediates: 2,
  };
  const buffers = [args.qkv, args.kCache, args.vCache, args.rowInfo, args.tables, args.partial, args.stats];
  if (portable) {
    const numRuns = heads.numKvHeads * Math.ceil(heads.numHeads / heads.numKvHeads / HEADS_PER_RUN);
    const threads = (size: PassSize) => size.numRows * numRuns * size.numSplits;
    return threadsOp(context, spec, buffers, workgroupSize, threads, sizes);
  }
  const kernel = await context.kernels.bind(spec, buffers);
  const words = new Uint32Array(2);
  return (pass, size) => {
    words.set(sizes(size));
    kernel.dispatch(pass, [heads.numHeads, size.numSplits, size.numRows], words);
  };
}

function mergeOp(context: OpContext, heads: HeadShape, args: AttentionArgs): Promise<Op> {
  const workgroupSize = context.family.name === "portable" ? 16 : 64;
  return threadsOp(
    context,
    {
      shader: ["attention_merge"],
      constants: {
        NUM_HEADS: heads.numHeads,
        HEAD_DIM: heads.headDim,
        SPLIT: context.family.splitSize,
        WORKGROUP_SIZE: workgroupSize,
      },
      numImmediates: 2,
    },
    [args.partial, args.stats, args.rowInfo, args.out],
    workgroupSize,
    (size) => size.numRows * heads.numHeads * (heads.headDim / 4),
    sizes,
  );
}
