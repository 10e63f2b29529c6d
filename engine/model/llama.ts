import {
  attention,
  embedding,
  type HeadShape,
  logitsStride,
  matmul,
  type Op,
  type OpContext,
  rmsNorm,
  ropeKv,
  siluMul,
} from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import { ModelFileError } from "../errors.ts";
import type { Activations } from "../runner/activations.ts";
import type { InputBuffers } from "../runner/inputs.ts";
import type { KvStorage } from "../runner/kv-storage.ts";
import type { LlamaWeights } from "../runner/weights.ts";
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

/**
 * The Llama decoder as a list of kernel calls, from token ids to logits f32 [numLogits, logitsStride].
 * Rows of a pass may be prompt tokens, plain decodes and tree nodes of several sequences, in any mixture.
 */
export function llama(context: OpContext, config: LlamaConfig, buffers: LlamaBuffers): Promise<Op[]> {
  const { weights, activations: a, inputs, kv } = buffers;
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, rmsNormEps: epsilon } = config;
  const heads: HeadShape = { numHeads, numKvHeads, headDim };
  const attentionSize = numHeads * headDim;
  const qkvSize = attentionSize + 2 * numKvHeads * headDim;
  const linear = (weights: GPUBuffer, numInputs: number, numOutputs: number, x: GPUBuffer, y: GPUBuffer, add = false) =>
    matmul(context, { shape: { numInputs, numOutputs }, weights, x, y, accumulate: add });
  const norm = (gain: GPUBuffer) =>
    rmsNorm(context, { hiddenSize, epsilon, x: a.hidden, gain, rowIndex: inputs.identity, out: a.normed });

  const layers = weights.layers.flatMap((w, layer) => {
    const { kCache, vCache } = kv.layer(layer);
    const { rowInfo, slots, tables } = inputs;
    return [
      norm(w.inputNorm),
      linear(w.qkv, hiddenSize, qkvSize, a.normed, a.qkv),
      ropeKv(context, heads, { qkv: a.qkv, rope: weights.rope, rowInfo, slots, kCache, vCache }),
      attention(context, heads, {
        ...{ qkv: a.qkv, kCache, vCache, rowInfo, tables, blockSize: BLOCK_SIZE },
        ...{ partial: a.partial, stats: a.stats, out: a.attended },
      }),
      linear(w.output, attentionSize, hiddenSize, a.attended, a.hidden, true),
      norm(w.mlpNorm),
      linear(w.gateUp, hiddenSize, 2 * intermediateSize, a.normed, a.gateUp),
      siluMul(context, { intermediateSize, gateUp: a.gateUp, out: a.gated }),
      linear(w.down, intermediateSize, hiddenSize, a.gated, a.hidden, true),
    ];
  });
  return Promise.all([
    embedding(context, { hiddenSize, table: weights.embedding, tokenIds: inputs.tokenIds, hidden: a.hidden }),
    ...layers,
    rmsNorm(
      context,
      { hiddenSize, epsilon, x: a.hidden, gain: weights.finalNorm, rowIndex: inputs.logitRows, out: a.features },
      (size) => size.numLogits,
    ),
    matmul(
      context,
      {
        shape: { numInputs: hiddenSize, numOutputs: logitsStride(config.vocabSize) },
        weights: weights.lmHead,
        x: a.features,
        y: a.logits,
      },
      (size) => size.numLogits,
    ),
  ]);
}
