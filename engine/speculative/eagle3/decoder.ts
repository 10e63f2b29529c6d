import {
  type Activation,
  addRmsNorm,
  type Binding,
  eagle3Input,
  eagle3Levels,
  type FeatureStore,
  type GpuContext,
  type HeadShape,
  keepFeatures,
  matmul,
  type Product,
  spreadLogits,
  wholeTable,
} from "../../../kernels/index.ts";
import type { Eagle3Files } from "../../model/eagle3-files.ts";
import { attendToPath, mlp, writeKv } from "../../model/layer-ops.ts";
import { createActivation, createProduct } from "../../runner/activations.ts";
import type { Decoder } from "../../runner/model-runner.ts";
import type { LlamaWeights } from "../../runner/weights.ts";
import type { FeatureSources } from "../eagle/feature-sources.ts";
import { type LogitRows, onLogitRows } from "../logit-rows.ts";
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
 * kept at the row's slot for the rows below it: only rows with logits have some.
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
  return ({ activations, inputs, kv }) => {
    const { slots, tokenIds } = inputs;
    const { normed, hidden, features } = activations;
    const shards = kv.layer(0);
    const own = kv.features;
    if (own === undefined) throw new Error("invariant: an EAGLE drafter keeps its features");
    const { maxRows } = normed;
    const levels = createActivation(gpu, maxRows, target.features.size, "levels");
    const fused = createProduct(gpu, maxRows, shapes.fc, "fused");
    const joined = createActivation(gpu, maxRows, 2 * hiddenSize, "joined");
    const qkv = createProduct(gpu, maxRows, shapes.qkv, "eagle3.qkv");
    const reduced = createProduct(gpu, features.maxRows, shapes.lmHead, "reduced", true);
    const behindKv = ({ activations: a, inputs: rows, own: rowSlots }: LogitRows) => {
      const norm = (gain: GPUBuffer, product: Product, rowIndex: Binding, out: Activation) =>
        addRmsNorm(gpu, { hiddenSize, epsilon, hidden: a.hidden, product, gain, rowIndex, out });
      return [
        ...attendToPath(gpu, heads, weights, a, rows, shards),
        norm(weights.mlpNorm, a.attentionOut, rows.identity, a.normed),
        ...mlp(gpu, weights, a),
        keepFeatures(gpu, { hiddenSize, hidden: a.hidden, product: a.mlpOut, slots: rowSlots, features: own }),
        norm(weights.finalNorm, a.mlpOut, rows.logitRows, a.features),
        matmul(gpu, { weights: weights.lmHead, x: a.features, y: reduced }),
        spreadLogits(gpu, { vocabSize, reduced, places: weights.places, logits: a.logits.buffer }),
      ];
    };
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
      ...writeKv(gpu, heads, weights, { ...activations, normed: joined, qkv }, inputs, shards),
      onLogitRows(gpu, { activations, inputs }, { rows: slots, width: 1 }, behindKv),
    ]);
  };
}
