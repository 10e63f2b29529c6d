import {
  addBias,
  addRmsNorm,
  eagleInput,
  type FeatureStore,
  type GpuContext,
  gatherFeatures,
  type HeadShape,
  keepFeatures,
  matmul,
  type PassSize,
  wholeTable,
} from "../../../kernels/index.ts";
import { mlp, selfAttention } from "../../model/layer-ops.ts";
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
    const { slots, tokenIds, identity } = inputs;
    const own = kv.features;
    if (own === undefined) throw new Error("invariant: an EAGLE drafter keeps its features");
    const { maxRows } = a.normed;
    const joined = createActivation(gpu, maxRows, 2 * hiddenSize, "joined");
    const fc = createProduct(gpu, maxRows, eagleShapes(config).fc, "fc");
    const { hidden } = a;
    const numLogits = (size: PassSize) => size.numLogits;
    return Promise.all([
      eagleInput(gpu, {
        ...{ table: wholeTable(target.weights.embedding), tokenIds, sources: sources.buffer },
        ...{ target: target.features, own, out: joined },
      }),
      matmul(gpu, { weights: weights.fc, x: joined, y: fc }),
      addBias(gpu, { product: fc, bias: weights.fcBias, hidden, out: a.normed }),
      ...selfAttention(gpu, heads, weights, a, inputs, kv.layer(0)),
      addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden, product: a.attentionOut, gain: weights.mlpNorm },
        ...{ rowIndex: identity, out: a.normed },
      }),
      ...mlp(gpu, weights, a),
      keepFeatures(gpu, { hiddenSize, hidden, product: a.mlpOut, slots, features: own }),
      gatherFeatures(gpu, { features: own, slots, rows: inputs.logitRows, out: a.features }, numLogits),
      matmul(gpu, { weights: target.weights.lmHead, x: a.features, y: a.logits }, numLogits),
    ]);
  };
}
