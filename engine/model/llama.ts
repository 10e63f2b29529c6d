import {
  addRmsNorm,
  embedding,
  type HeadShape,
  keepFeatures,
  matmul,
  type Op,
  type OpContext,
  type PassSize,
  type Product,
} from "../../kernels/index.ts";
import { ModelFileError } from "../errors.ts";
import type { Activations } from "../runner/activations.ts";
import type { InputBuffers } from "../runner/inputs.ts";
import type { KvStorage } from "../runner/kv-storage.ts";
import type { LlamaWeights } from "../runner/weights.ts";
import { mlp, selfAttention } from "./layer-ops.ts";
import type { LlamaConfig } from "./types.ts";

/** Everything a forward pass reads and writes. */
export interface LlamaBuffers {
  readonly weights: LlamaWeights;
  readonly activations: Activations;
  readonly inputs: InputBuffers;
  readonly kv: KvStorage;
}

/** Multiples that the kernels ask for: they read rows in vectors of four, and halves of heads too. */
const SIZE_UNITS = { hiddenSize: 4, intermediateSize: 4, headDim: 8 } as const satisfies Partial<
  Record<keyof LlamaConfig, number>
>;

/** @throws ModelFileError unsupported naming the first size that the kernels cannot work with. */
export function checkKernelSizes(config: LlamaConfig, path: string): void {
  for (const [size, unit] of Object.entries(SIZE_UNITS) as [keyof typeof SIZE_UNITS, number][]) {
    if (config[size] % unit === 0) continue;
    throw new ModelFileError("unsupported", path, `${size} is ${config[size]}; it must be a multiple of ${unit}`);
  }
}

/** Where hidden states are taken: after the final norm, or the residual stream as layer 1, 2, … reads it. */
export type FeatureTap = "final" | number;

/**
 * The Llama decoder as a list of kernel calls, from token ids to logits f32 [numLogits, logitsStride].
 * Rows of a pass may be prompt tokens, plain decodes and tree nodes of several sequences, in any mixture.
 * @param taps hidden states that are kept in `kv.features`, one after the other; nothing that the logits depend on is written
 */
export function llama(
  context: OpContext,
  config: LlamaConfig,
  buffers: LlamaBuffers,
  taps: readonly FeatureTap[] = [],
): Promise<Op[]> {
  const { weights, activations: a, inputs, kv } = buffers;
  const { hiddenSize, numHeads, numKvHeads, headDim, rmsNormEps: epsilon } = config;
  const heads: HeadShape = { numHeads, numKvHeads, headDim };
  /** Adds what the last block gave to the residual stream, and norms it. */
  const norm = (gain: GPUBuffer, product?: Product) =>
    addRmsNorm(context, {
      ...{ hiddenSize, epsilon, hidden: a.hidden, gain, rowIndex: inputs.identity, out: a.normed },
      ...(product ? { product } : {}),
    });

  const tap = (where: FeatureTap) => {
    const at = taps.indexOf(where);
    if (at < 0 || kv.features === undefined) return [];
    const args = {
      hiddenSize,
      hidden: a.hidden,
      product: a.mlpOut,
      slots: inputs.slots,
      features: { ...kv.features, offset: at * hiddenSize, size: hiddenSize },
    };
    return [keepFeatures(context, where === "final" ? { ...args, norm: { gain: weights.finalNorm, epsilon } } : args)];
  };

  const layers = weights.layers.flatMap((w, layer) => {
    return [
      ...tap(layer),
      layer === 0 ? norm(w.inputNorm) : norm(w.inputNorm, a.mlpOut),
      ...selfAttention(context, heads, { ...w, rope: weights.rope }, a, inputs, kv.layer(layer)),
      norm(w.mlpNorm, a.attentionOut),
      ...mlp(context, w, a),
    ];
  });
  const { hidden, mlpOut: product, features } = a;
  const numLogits = (size: PassSize) => size.numLogits;
  return Promise.all([
    embedding(context, { hiddenSize, table: weights.embedding, tokenIds: inputs.tokenIds, hidden }),
    ...layers,
    ...tap("final"),
    addRmsNorm(
      context,
      { hiddenSize, epsilon, hidden, product, gain: weights.finalNorm, rowIndex: inputs.logitRows, out: features },
      numLogits,
    ),
    matmul(context, { weights: weights.lmHead, x: features, y: a.logits }, numLogits),
  ]);
}
