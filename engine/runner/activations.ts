import { attentionSplits, type GpuContext, logitsStride } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { LlamaConfig } from "../model/types.ts";

/** Scratch of one forward pass, all f32, reused by every layer. */
export interface Activations {
  /** [maxRows, hiddenSize], the residual stream */
  readonly hidden: GPUBuffer;
  /** [maxRows, hiddenSize] */
  readonly normed: GPUBuffer;
  /** [maxRows, numHeads + 2 · numKvHeads, headDim] */
  readonly qkv: GPUBuffer;
  /** [maxRows, numHeads, maxSplits, headDim] */
  readonly partial: GPUBuffer;
  /** [maxRows, numHeads, maxSplits, 2] */
  readonly stats: GPUBuffer;
  /** [maxRows, numHeads, headDim] */
  readonly attended: GPUBuffer;
  /** [maxRows, 2 · intermediateSize] */
  readonly gateUp: GPUBuffer;
  /** [maxRows, intermediateSize] */
  readonly gated: GPUBuffer;
  /** [maxLogits, hiddenSize]: hidden states after the final norm of the rows whose logits are wanted */
  readonly features: GPUBuffer;
  /** [maxLogits, logitsStride(vocabSize)] */
  readonly logits: GPUBuffer;
}

export interface PassLimits {
  readonly maxRows: number;
  readonly maxLogits: number;
  /** Tokens of the longest sequence. */
  readonly maxModelLen: number;
}

export function createActivations(gpu: GpuContext, config: LlamaConfig, limits: PassLimits): Activations {
  const { maxRows, maxLogits, maxModelLen } = limits;
  const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize, vocabSize } = config;
  const f32 = (count: number, label: string) => gpu.pool.storage(4 * count, label);
  const numPartials = maxRows * numHeads * attentionSplits(gpu, headDim, BLOCK_SIZE, maxModelLen - 1);
  return {
    hidden: f32(maxRows * hiddenSize, "hidden"),
    normed: f32(maxRows * hiddenSize, "normed"),
    qkv: f32(maxRows * (numHeads + 2 * numKvHeads) * headDim, "qkv"),
    partial: f32(numPartials * headDim, "partial"),
    stats: f32(numPartials * 2, "stats"),
    attended: f32(maxRows * numHeads * headDim, "attended"),
    gateUp: f32(maxRows * 2 * intermediateSize, "gateUp"),
    gated: f32(maxRows * intermediateSize, "gated"),
    features: f32(maxLogits * hiddenSize, "features"),
    logits: f32(maxLogits * logitsStride(vocabSize), "logits"),
  };
}
