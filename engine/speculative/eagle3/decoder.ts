import {
  addRmsNorm,
  eagle3Input,
  eagle3Levels,
  type FeatureStore,
  type GpuContext,
  type HeadShape,
  keepFeatures,
  matmul,
  type PassSize,
  spreadLogits,
  wholeTable,
} from "../../../kernels/index.ts";
import type { Eagle3Files } from "../../model/eagle3-files.ts";
import { mlp, selfAttention } from "../../model/layer-ops.ts";
import { createActivation, createProduct } from "../../runner/activations.ts";
import type { Decoder } from "../../runner/model-runner.ts";
import type { LlamaWeights } from "../../runner/weights.ts";
import type { FeatureSources } from "../eagle/feature-sources.ts";
import { type Eagle3Weights, eagle3Shapes } from "./weights.ts";

/** What an EAGLE-3 drafter uses of its target. */
export interface Eagle3Target {
  readonly weights: Pick<LlamaWeights, "embedding">;
  /** Three levels of hidden states, one after the other. */
  readonly features: FeatureStore;
}

/**
 * EAGLE-3's decoder (arXiv 2503.01840, section 3.1) as a list of kernel calls: the target's three levels fused by one product, or the
 * drafter's own last output below a drafted token; a decoder layer whose attention reads embedding and feature, each normed; a norm
 * and an LM head over a reduced vocabulary, whose logits go to their places in the target's. What the layer gives, before that norm, is
 * kept at the row's slot for the rows below it.
 */
export function eagle3Decoder(
  gpu: GpuContext,
  weights: Eagle3Weights,
  { config, draftTokenIds }: Pick<Eagle3Files, "config" | "draftTokenIds">,
  target: Eagle3Target,
  sources: FeatureSources,
): Decoder {
  const { vocabSize, hiddenSize, numHeads, numKvHeads, headDim, rmsNormEps: epsilon } = config;
  const heads: HeadShape = { numHeads, numKvHeads, headDim };
  const shapes = eagle3Shapes(config, draftTokenIds?.length ?? vocabSize);
  return ({ activations: a, inputs, kv }) => {
    const { slots, tokenIds, identity } = inputs;
    const own = kv.features;
    if (own === undefined) throw new Error("invariant: an EAGLE drafter keeps its features");
    const { maxRows } = a.normed;
    const levels = createActivation(gpu, maxRows, target.features.size, "levels");
    const fused = createProduct(gpu, maxRows, shapes.fc, "fused");
    const joined = createActivation(gpu, maxRows, 2 * hiddenSize, "joined");
    const qkv = createProduct(gpu, maxRows, shapes.qkv, "eagle3.qkv");
    const reduced = createProduct(gpu, a.features.maxRows, shapes.lmHead, "reduced", true);
    const { hidden } = a;
    const numLogits = (size: PassSize) => size.numLogits;
    return Promise.all([
      eagle3Levels(gpu, { sources: sources.buffer, levels: target.features, out: levels }),
      matmul(gpu, { weights: weights.fc, x: levels, y: fused }),
      eagle3Input(gpu, {
        ...{
          table: weights.embedding ?? wholeTable(target.weights.embedding),
          tokenIds,
          sources: sources.buffer,
          fused,
          own,
        },
        ...{ gains: weights.inputGains, epsilon, hidden, out: joined },
      }),
      ...selfAttention(gpu, heads, weights, { ...a, normed: joined, qkv }, inputs, kv.layer(0)),
      addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden, product: a.attentionOut, gain: weights.mlpNorm },
        ...{ rowIndex: identity, out: a.normed },
      }),
      ...mlp(gpu, weights, a),
      keepFeatures(gpu, { hiddenSize, hidden, product: a.mlpOut, slots, features: own }),
      addRmsNorm(
        gpu,
        {
          ...{ hiddenSize, epsilon, hidden, product: a.mlpOut, gain: weights.finalNorm },
          ...{ rowIndex: inputs.logitRows, out: a.features },
        },
        numLogits,
      ),
      matmul(gpu, { weights: weights.lmHead, x: a.features, y: reduced }, numLogits),
      spreadLogits(gpu, { vocabSize, reduced, places: weights.places, logits: a.logits.buffer }),
    ]);
  };
}
