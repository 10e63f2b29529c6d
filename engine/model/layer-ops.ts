import {
  attention,
  gatedMatmul,
  type HeadShape,
  matmul,
  type Op,
  type OpContext,
  ropeKv,
} from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { Activations } from "../runner/activations.ts";
import type { InputBuffers } from "../runner/inputs.ts";
import type { LayerKv } from "../runner/kv-storage.ts";
import type { BareLayerWeights } from "../runner/weights.ts";

/** Self-attention from `normed` to `attentionOut`: writes the rows' K and V, and attends to each row's own path. */
export function selfAttention(
  context: OpContext,
  heads: HeadShape,
  { qkv, output, rope }: Pick<BareLayerWeights, "qkv" | "output"> & { readonly rope: GPUBuffer },
  a: Activations,
  { rowInfo, slots, tables }: InputBuffers,
  shards: LayerKv,
): readonly Promise<Op>[] {
  return [
    matmul(context, { weights: qkv, x: a.normed, y: a.qkv }),
    ropeKv(context, heads, { qkv: a.qkv, rope, rowInfo, slots, shards, q: a.q }),
    attention(context, heads, {
      ...{ q: a.q, shards, rowInfo, tables, blockSize: BLOCK_SIZE },
      ...{ partial: a.partial, stats: a.stats, out: a.attended },
    }),
    matmul(context, { weights: output, x: a.attended, y: a.attentionOut }),
  ];
}

/** The gated MLP from `normed` to `mlpOut`. */
export function mlp(
  context: OpContext,
  { gateUp, down }: Pick<BareLayerWeights, "gateUp" | "down">,
  a: Activations,
): readonly Promise<Op>[] {
  return [
    matmul(context, { weights: gateUp, x: a.normed, y: a.gateUp }),
    gatedMatmul(context, { weights: down, gateUp: a.gateUp, x: a.gated, y: a.mlpOut }),
  ];
}
