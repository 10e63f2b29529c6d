import {
  type Activation,
  activationBytes,
  attentionSplits,
  type GpuContext,
  numAttentionPartials,
  numRanges,
  type Product,
  type ProductShape,
  paddedOutputs,
  paddedRows,
} from "../../kernels/index.ts";
import { productShapes } from "../model/product-shapes.ts";
import type { LlamaConfig } from "../model/types.ts";

/** Scratch of one forward pass, reused by every layer. */
export interface Activations {
  /** f32 [maxRows, hiddenSize], the residual stream */
  readonly hidden: GPUBuffer;
  /** Normed hidden states: input of the layer's products */
  readonly normed: Activation;
  /** [maxRows, numHeads + 2 · numKvHeads, headDim] */
  readonly qkv: Product;
  /** f32 [maxRows, numHeads, headDim], rotated */
  readonly q: GPUBuffer;
  /** f32 [numAttentionPartials, headDim] */
  readonly partial: GPUBuffer;
  /** f32 [numAttentionPartials, 2] */
  readonly stats: GPUBuffer;
  /** [maxRows, numHeads · headDim] */
  readonly attended: Activation;
  /** [maxRows, hiddenSize], to be added to the residual stream: of the attention and of the MLP */
  readonly attentionOut: Product;
  readonly mlpOut: Product;
  /** [maxRows, 2 · intermediateSize] */
  readonly gateUp: Product;
  /** [maxRows, intermediateSize] */
  readonly gated: Activation;
  /** [maxLogits, hiddenSize]: hidden states after the final norm of the rows whose logits are wanted */
  readonly features: Activation;
  /** [maxLogits, logitsStride(vocabSize)], in one range */
  readonly logits: Product;
}

export interface PassLimits {
  readonly maxRows: number;
  readonly maxLogits: number;
  /** Tokens of the longest sequence. */
  readonly maxModelLen: number;
}

export function createActivations(gpu: GpuContext, config: LlamaConfig, limits: PassLimits): Activations {
  const { pool, family } = gpu;
  const { hiddenSize, numHeads, headDim, intermediateSize } = config;
  const shapes = productShapes(config);
  const maxRows = paddedRows(family, limits.maxRows);
  const maxLogits = paddedRows(family, limits.maxLogits);
  const attentionSize = numHeads * headDim;
  const f32 = (count: number, label: string) => pool.storage(4 * count, label);
  const activation = (rows: number, numInputs: number, label: string) => createActivation(gpu, rows, numInputs, label);
  const product = (rows: number, shape: ProductShape, label: string, whole = false) =>
    createProduct(gpu, rows, shape, label, whole);
  const maxSplits = attentionSplits(gpu, headDim, limits.maxModelLen - 1);
  const numPartials = numAttentionPartials(pool, config, limits.maxRows, maxSplits);
  return {
    hidden: f32(maxRows * hiddenSize, "hidden"),
    normed: activation(maxRows, hiddenSize, "normed"),
    qkv: product(maxRows, shapes.qkv, "qkv"),
    q: f32(maxRows * attentionSize, "q"),
    partial: f32(numPartials * headDim, "partial"),
    stats: f32(numPartials * 2, "stats"),
    attended: activation(maxRows, attentionSize, "attended"),
    attentionOut: product(maxRows, shapes.output, "attentionOut"),
    mlpOut: product(maxRows, shapes.down, "mlpOut"),
    gateUp: product(maxRows, shapes.gateUp, "gateUp"),
    gated: activation(maxRows, intermediateSize, "gated"),
    features: activation(maxLogits, hiddenSize, "features"),
    logits: product(maxLogits, shapes.lmHead, "logits", true),
  };
}

/** Room for a product of `maxRows` rows (`paddedRows`). @param whole its consumer cannot add ranges */
export function createProduct(
  { pool, family }: GpuContext,
  maxRows: number,
  shape: ProductShape,
  label: string,
  whole = false,
): Product {
  const numOutputs = paddedOutputs(family, shape.numOutputs);
  const ranges = numRanges(family, shape, whole);
  return { buffer: pool.storage(4 * ranges * maxRows * numOutputs, label), maxRows, numOutputs, numRanges: ranges };
}

/** Room for the input of a product of `maxRows` rows (`paddedRows`). */
export function createActivation(
  { pool, family }: GpuContext,
  maxRows: number,
  numInputs: number,
  label: string,
): Activation {
  return { buffer: pool.storage(activationBytes(family, maxRows, numInputs), label), maxRows, numInputs };
}
