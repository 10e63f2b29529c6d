import { kvTypeOf } from "../family.ts";
import type { Binding } from "../kernel.ts";
import type { Op, OpContext } from "../op.ts";
import { attentionCore, chooseAttentionKernel, numAttentionSplits } from "./attention-core.ts";
import type { AttentionTensors, HeadShape, KvShard } from "./attention-types.ts";
import type { Activation } from "./product.ts";

/** u32 words of one row of `rowInfo`: table offset, position, linear length, offset of its list of tree keys. */
export const ROW_INFO_WORDS = 4;

export interface AttentionArgs {
  /** f32 [numRows, numHeads, headDim] */
  readonly q: GPUBuffer;
  readonly shards: readonly KvShard[];
  /** u32 [numRows, 4] and the tables it points into (wgsl/attention_rows.wgsl). */
  readonly rowInfo: Binding;
  readonly tables: Binding;
  /** Scratch: f32 [numAttentionPartials, headDim] and f32 [numAttentionPartials, 2]. */
  readonly partial: GPUBuffer;
  readonly stats: GPUBuffer;
  /** [numRows, numHeads · headDim] */
  readonly out: Activation;
  readonly blockSize: number;
}

/** Splits of a pass whose longest row is at `maxPosition`: what `PassSize.numSplits` must be at least. */
export function attentionSplits(context: Pick<OpContext, "family">, headDim: number, maxPosition: number): number {
  const { splitSize } = context.family;
  const kind = chooseAttentionKernel(context, { headDim, kvType: kvTypeOf(context.family) }, { splitSize });
  return numAttentionSplits(kind, { splitSize }, { treeBuffers: false }, maxPosition + 1);
}

/**
 * Tree attention over the paged cache: each row attends to every position up to its own, found through its sequence's
 * block table and its own path of tree keys. Splits of a fixed size in absolute positions, folded in ascending order.
 */
export function attention(context: OpContext, heads: HeadShape, args: AttentionArgs): Promise<Op> {
  const { splitSize } = context.family;
  const { blockSize: pageSize, out, ...buffers } = args;
  const layout = { rowsPerBatch: 1, pageSize, splitSize, scale: 1 / Math.sqrt(heads.headDim) };
  const tensors: AttentionTensors = {
    ...heads,
    ...{ ioType: "f32", kvType: kvTypeOf(context.family), activationRows: out.maxRows },
    ...{ infoHeads: 1, hasBias: false, treeBuffers: false },
  };
  const kind = chooseAttentionKernel(context, tensors, layout);
  return attentionCore(context, { kind }, tensors, layout, { ...buffers, out: out.buffer });
}
