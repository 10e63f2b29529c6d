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

type RotatedWeights = Pick<BareLayerWeights, "qkv"> & { readonly rope: GPUBuffer };

/** Self-attention from `normed` to `attentionOut`: writes the rows' K and V, and attends to each row's own path. */
export function selfAttention(
  context: OpContext,
  heads: HeadShape,
  weights: RotatedWeights & Pick<BareLayerWeights, "output">,
  a: Activations,
  inputs: InputBuffers,
  shards: LayerKv,
): readonly Promise<Op>[] {
  return [
    ...writeKv(context, heads, weights, a, inputs, shards),
    ...attendToPath(context, heads, weights, a, inputs, shards),
  ];
}

/** From `normed` to `q`; K and V go to the rows' slots. */
export function writeKv(
  context: OpContext,
  heads: HeadShape,
  { qkv, rope }: RotatedWeights,
  a: Activations,
  { rowInfo, slots }: InputBuffers,
  shards: LayerKv,
): readonly Promise<Op>[] {
  return [
    matmul(context, { weights: qkv, x: a.normed, y: a.qkv }),
    ropeKv(context, heads, { qkv: a.qkv, rope, rowInfo, slots, shards, q: a.q }),
  ];
}

/** From `q` to `attentionOut`. */
export function attendToPath(
  context: OpContext,
  heads: HeadShape,
  { output }: Pick<BareLayerWeights, "output">,
  a: Activations,
  { rowInfo, tables }: Pick<InputBuffers, "rowInfo" | "tables">,
  shards: LayerKv,
): readonly Promise<Op>[] {
  return [
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
