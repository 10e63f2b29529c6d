import {
  type Activation,
  addRmsNorm,
  attention,
  embedding,
  type GpuContext,
  type HeadShape,
  matmul,
  type PackedMatrix,
  type PassSize,
  type Product,
  ropeKv,
} from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { mlp, selfAttention } from "../../model/layer-ops.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { createProduct } from "../../runner/activations.ts";
import type { LayerKv } from "../../runner/kv-storage.ts";
import type { Decoder } from "../../runner/model-runner.ts";
import type { LlamaWeights } from "../../runner/weights.ts";
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
  return ({ activations: a, inputs, kv }) => {
    const { rowInfo, slots } = inputs;
    const crossQ = createProduct(gpu, a.normed.maxRows, glideShapes(config).crossQ, "crossQ");
    const linear = (w: PackedMatrix, x: Activation, y: Product) => matmul(gpu, { weights: w, x, y });
    const norm = (gain: GPUBuffer, product?: Product) =>
      addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden: a.hidden, gain, rowIndex: inputs.identity, out: a.normed },
        ...(product ? { product } : {}),
      });
    const numLogits = (size: PassSize) => size.numLogits;
    return Promise.all([
      embedding(gpu, { hiddenSize, table: target.weights.embedding, tokenIds: inputs.tokenIds, hidden: a.hidden }),
      norm(weights.inputNorm),
      ...selfAttention(gpu, heads, weights, a, inputs, kv.layer(0)),
      norm(weights.crossNorm, a.attentionOut),
      linear(weights.crossQ, a.normed, crossQ),
      // Without heads of keys and values it rotates the query alone, and nothing is written to the caches.
      ropeKv(
        gpu,
        { ...heads, numKvHeads: 0 },
        { qkv: crossQ, rope: target.weights.rope, rowInfo, slots, shards: kv.layer(0).slice(0, 1), q: a.q },
      ),
      attention(gpu, crossHeads, {
        ...{ q: a.q, shards: target.kv, rowInfo: cross.rowInfo, tables: cross.tables, blockSize: BLOCK_SIZE },
        ...{ partial: a.partial, stats: a.stats, out: a.attended },
      }),
      linear(weights.crossOutput, a.attended, a.attentionOut),
      norm(weights.mlpNorm, a.attentionOut),
      ...mlp(gpu, weights, a),
      addRmsNorm(
        gpu,
        {
          ...{ hiddenSize, epsilon, hidden: a.hidden, product: a.mlpOut, gain: weights.finalNorm },
          ...{ rowIndex: inputs.logitRows, out: a.features },
        },
        numLogits,
      ),
      matmul(gpu, { weights: target.weights.lmHead, x: a.features, y: a.logits }, numLogits),
    ]);
  };
}
