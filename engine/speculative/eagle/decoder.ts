import {
  type Activation,
  addBias,
  addRmsNorm,
  attention,
  eagleInput,
  type FeatureStore,
  type GpuContext,
  gatherFeatures,
  type HeadShape,
  keepFeatures,
  matmul,
  type PackedMatrix,
  type PassSize,
  type Product,
  ropeKv,
  siluMul,
} from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { createActivation, createProduct } from "../../runner/activations.ts";
import type { Decoder } from "../../runner/model-runner.ts";
import type { LlamaWeights } from "../../runner/weights.ts";
import type { FeatureSources } from "./feature-sources.ts";
import { type EagleWeights, eagleShapes } from "./weights.ts";

/** What an EAGLE drafter uses of its target. */
export interface EagleTarget {
  readonly weights: Pick<LlamaWeights, "embedding" | "lmHead">;
  /** Hidden states after the final norm. */
  readonly features: FeatureStore;
}

/**
 * EAGLE's decoder (arXiv 2401.15077, section 4.1) as a list of kernel calls: token and feature joined by one product, a
 * decoder layer without a norm before its attention, and the target's LM head. What the layer gives is the next
 * feature; it is kept at the row's slot for the rows below it.
 */
export function eagleDecoder(
  gpu: GpuContext,
  config: LlamaConfig,
  weights: EagleWeights,
  target: EagleTarget,
  sources: FeatureSources,
): Decoder {
  const { hiddenSize, numHeads, numKvHeads, headDim, rmsNormEps: epsilon } = config;
  const heads: HeadShape = { numHeads, numKvHeads, headDim };
  return ({ activations: a, inputs, kv }) => {
    const { rowInfo, slots, tables, tokenIds, identity } = inputs;
    const { kCache, vCache } = kv.layer(0);
    const own = kv.features;
    if (own === undefined) throw new Error("invariant: an EAGLE drafter keeps its features");
    const { maxRows } = a.normed;
    const joined = createActivation(gpu, maxRows, 2 * hiddenSize, "joined");
    const fc = createProduct(gpu, maxRows, eagleShapes(config).fc, "fc");
    const linear = (w: PackedMatrix, x: Activation, y: Product) => matmul(gpu, { weights: w, x, y });
    const { hidden } = a;
    const numLogits = (size: PassSize) => size.numLogits;
    return Promise.all([
      eagleInput(gpu, {
        ...{ table: target.weights.embedding, tokenIds, sources: sources.buffer },
        ...{ target: target.features, own, out: joined },
      }),
      linear(weights.fc, joined, fc),
      addBias(gpu, { product: fc, bias: weights.fcBias, hidden, out: a.normed }),
      linear(weights.qkv, a.normed, a.qkv),
      ropeKv(gpu, heads, { qkv: a.qkv, rope: weights.rope, rowInfo, slots, kCache, vCache, q: a.q }),
      attention(gpu, heads, {
        ...{ q: a.q, kCache, vCache, rowInfo, tables, blockSize: BLOCK_SIZE },
        ...{ partial: a.partial, stats: a.stats, out: a.attended },
      }),
      linear(weights.output, a.attended, a.attentionOut),
      addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden, product: a.attentionOut, gain: weights.mlpNorm },
        ...{ rowIndex: identity, out: a.normed },
      }),
      linear(weights.gateUp, a.normed, a.gateUp),
      siluMul(gpu, { gateUp: a.gateUp, out: a.gated }),
      linear(weights.down, a.gated, a.mlpOut),
      keepFeatures(gpu, { hiddenSize, hidden, product: a.mlpOut, slots, features: own, offset: 0 }),
      gatherFeatures(gpu, { features: own, slots, rows: inputs.logitRows, out: a.features }, numLogits),
      matmul(gpu, { weights: target.weights.lmHead, x: a.features, y: a.logits }, numLogits),
    ]);
  };
}
