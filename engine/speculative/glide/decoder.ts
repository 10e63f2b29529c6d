import {
  type Activation,
  addRmsNorm,
  attention,
  embedding,
  type GpuContext,
  type HeadShape,
  matmul,
  type PackedMatrix,
  type Product,
  ROW_INFO_WORDS,
  ropeKv,
} from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { attendToPath, mlp, writeKv } from "../../model/layer-ops.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { createProduct } from "../../runner/activations.ts";
import type { LayerKv } from "../../runner/kv-storage.ts";
import type { Decoder } from "../../runner/model-runner.ts";
import type { LlamaWeights } from "../../runner/weights.ts";
import { type LogitRows, onLogitRows } from "../logit-rows.ts";
import type { CrossInputs } from "./cross-inputs.ts";
import { type GlideWeights, glideShapes } from "./weights.ts";

/** What a GLIDE drafter uses of its target. */
export interface GlideTarget {
  readonly numKvHeads: number;
  readonly weights: Pick<LlamaWeights, "embedding" | "lmHead" | "rope">;
  /** Keys and values of its last layer. */
  readonly kv: LayerKv;
}

/**
 * GLIDE's decoder (arXiv 2402.02082, section 3.1) as a list of kernel calls: causal self-attention, cross-attention over the keys
 * and values of the target's last layer where they lie in its paged cache, an MLP, a norm, and the target's LM head. The
 * keys are rotated; the query is rotated at its own row's position.
 */
export function glideDecoder(
  gpu: GpuContext,
  config: LlamaConfig,
  weights: GlideWeights,
  target: GlideTarget,
  cross: CrossInputs,
): Decoder {
  const { hiddenSize, numHeads, numKvHeads, headDim, rmsNormEps: epsilon } = config;
  const heads: HeadShape = { numHeads, numKvHeads, headDim };
  const crossHeads: HeadShape = { ...heads, numKvHeads: target.numKvHeads };
  const linear = (w: PackedMatrix, x: Activation, y: Product) => matmul(gpu, { weights: w, x, y });
  return ({ activations, inputs, kv }) => {
    const shards = kv.layer(0);
    const { normed, hidden } = activations;
    const crossQ = createProduct(gpu, normed.maxRows, glideShapes(config).crossQ, "crossQ");
    const behindKv = ({ activations: a, inputs: { rowInfo, slots, identity, logitRows, tables }, own }: LogitRows) => {
      const norm = (gain: GPUBuffer, product: Product, rowIndex = identity, out = a.normed) =>
        addRmsNorm(gpu, { hiddenSize, epsilon, hidden: a.hidden, product, gain, rowIndex, out });
      return [
        ...attendToPath(gpu, heads, weights, a, { rowInfo, tables }, shards),
        norm(weights.crossNorm, a.attentionOut),
        linear(weights.crossQ, a.normed, crossQ),
        // Without heads of keys and values it rotates the query alone, and nothing is written to the caches.
        ropeKv(
          gpu,
          { ...heads, numKvHeads: 0 },
          { qkv: crossQ, rope: target.weights.rope, rowInfo, slots, shards: shards.slice(0, 1), q: a.q },
        ),
        attention(gpu, crossHeads, {
          ...{ q: a.q, shards: target.kv, rowInfo: own, tables: cross.tables, blockSize: BLOCK_SIZE },
          ...{ partial: a.partial, stats: a.stats, out: a.attended },
        }),
        linear(weights.crossOutput, a.attended, a.attentionOut),
        norm(weights.mlpNorm, a.attentionOut),
        ...mlp(gpu, weights, a),
        norm(weights.finalNorm, a.mlpOut, logitRows, a.features),
        linear(target.weights.lmHead, a.features, a.logits),
      ];
    };
    return Promise.all([
      embedding(gpu, { hiddenSize, table: target.weights.embedding, tokenIds: inputs.tokenIds, hidden }),
      addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden, gain: weights.inputNorm, rowIndex: inputs.identity, out: normed },
      }),
      ...writeKv(gpu, heads, weights, activations, inputs, shards),
      onLogitRows(gpu, { activations, inputs }, { rows: cross.rowInfo, width: ROW_INFO_WORDS }, behindKv),
    ]);
  };
}
