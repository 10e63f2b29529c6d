import { type GpuContext, type PackedMatrix, ropeTable } from "../../../kernels/index.ts";
import type { DecoderFiles } from "../../model/drafter-files.ts";
import { checkTensorShapes, layerTensorShapes } from "../../model/llama-tensors.ts";
import { productShapes } from "../../model/product-shapes.ts";
import { inverseFrequencies } from "../../model/rope.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { type LayerWeights, uploader, uploadLayer } from "../../runner/weights.ts";

/** Weights of a GLIDE drafter on the GPU. Embedding and LM head are the target's. */
export interface GlideWeights extends LayerWeights {
  readonly crossNorm: GPUBuffer;
  readonly crossQ: PackedMatrix;
  readonly crossOutput: PackedMatrix;
  readonly finalNorm: GPUBuffer;
  /** f32 [maxModelLen, 2, headDim / 2], of its own attention */
  readonly rope: GPUBuffer;
}

/** Products of a GLIDE layer: a Llama layer's, and the query of its cross-attention. */
export function glideShapes(config: LlamaConfig) {
  const { hiddenSize, numHeads, headDim } = config;
  return { ...productShapes(config), crossQ: { numInputs: hiddenSize, numOutputs: numHeads * headDim } };
}

/** @throws ModelFileError */
export function uploadGlide(
  { pool, family }: GpuContext,
  { config, weights, path }: Pick<DecoderFiles, "config" | "weights" | "path">,
  maxModelLen: number,
): GlideWeights {
  const { hiddenSize, numHeads, headDim } = config;
  const at = "layers.0";
  checkTensorShapes(
    [
      ...layerTensorShapes(config, at),
      [`${at}.cross_attention_layernorm.weight`, [hiddenSize]],
      [`${at}.cross_attn.q_proj.weight`, [numHeads * headDim, hiddenSize]],
      [`${at}.cross_attn.o_proj.weight`, [hiddenSize, numHeads * headDim]],
      ["norm.weight", [hiddenSize]],
    ],
    weights,
    path,
  );
  const shapes = glideShapes(config);
  const upload = uploader(pool, family, weights);
  const { vector, matrix } = upload;
  const cross = (name: string) => `${at}.cross_attn.${name}_proj.weight`;
  return {
    inputNorm: vector(`${at}.input_layernorm.weight`),
    ...uploadLayer(upload, shapes, at),
    crossNorm: vector(`${at}.cross_attention_layernorm.weight`),
    crossQ: matrix([cross("q")], shapes.crossQ),
    crossOutput: matrix([cross("o")], shapes.output),
    finalNorm: vector("norm.weight"),
    rope: pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "glide.rope"),
  };
}
