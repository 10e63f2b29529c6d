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
  wholeTable,
} from "../../../kernels/index.ts";
import { attendToPath, mlp, writeKv } from "../../model/layer-ops.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { createActivation, createProduct } from "../../runner/activations.ts";
import type { Decoder } from "../../runner/model-runner.ts";
import type { LlamaWeights } from "../../runner/weights.ts";
import { type LogitRows, onLogitRows } from "../logit-rows.ts";
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
 * feature; it is kept at the row's slot for the rows below it: only rows with logits have some.
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
  return ({ activations, inputs, kv }) => {
    const { slots, tokenIds } = inputs;
    const { normed, hidden } = activations;
    const shards = kv.layer(0);
    const own = kv.features;
    if (own === undefined) throw new Error("invariant: an EAGLE drafter keeps its features");
    const joined = createActivation(gpu, normed.maxRows, 2 * hiddenSize, "joined");
    const fc = createProduct(gpu, normed.maxRows, eagleShapes(config).fc, "fc");
    const behindKv = ({ activations: a, inputs: rows, own: rowSlots }: LogitRows) => [
      ...attendToPath(gpu, heads, weights, a, rows, shards),
      addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden: a.hidden, product: a.attentionOut, gain: weights.mlpNorm },
        ...{ rowIndex: rows.identity, out: a.normed },
      }),
      ...mlp(gpu, weights, a),
      keepFeatures(gpu, { hiddenSize, hidden: a.hidden, product: a.mlpOut, slots: rowSlots, features: own }),
      gatherFeatures(
        gpu,
        { features: own, slots: rowSlots, rows: rows.logitRows, out: a.features },
        ({ numRows }) => numRows,
      ),
      matmul(gpu, { weights: target.weights.lmHead, x: a.features, y: a.logits }),
    ];
    return Promise.all([
      eagleInput(gpu, {
        ...{ table: wholeTable(target.weights.embedding), tokenIds, sources: sources.buffer },
        ...{ target: target.features, own, out: joined },
      }),
      matmul(gpu, { weights: weights.fc, x: joined, y: fc }),
      addBias(gpu, { product: fc, bias: weights.fcBias, hidden, out: normed }),
      ...writeKv(gpu, heads, weights, activations, inputs, shards),
      onLogitRows(gpu, { activations, inputs }, { rows: slots, width: 1 }, behindKv),
    ]);
  };
}
