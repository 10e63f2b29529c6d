import { type GpuContext, type PackedMatrix, ropeTable } from "../../../kernels/index.ts";
import type { DecoderFiles } from "../../model/drafter-files.ts";
import { checkTensorShapes, layerTensorShapes } from "../../model/llama-tensors.ts";
import { productShapes } from "../../model/product-shapes.ts";
import { inverseFrequencies } from "../../model/rope.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { uploader } from "../../runner/weights.ts";

/** Weights of a GLIDE drafter on the GPU. Embedding and LM head are the target's. */
export interface GlideWeights {
  readonly inputNorm: GPUBuffer;
  /** Rows of q_proj, k_proj and v_proj in one matrix. */
  readonly qkv: PackedMatrix;
  readonly output: PackedMatrix;
  readonly crossNorm: GPUBuffer;
  readonly crossQ: PackedMatrix;
  readonly crossOutput: PackedMatrix;
  readonly mlpNorm: GPUBuffer;
  /** Rows of gate_proj and up_proj in one matrix. */
  readonly gateUp: PackedMatrix;
  readonly down: PackedMatrix;
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
  const { vector, matrix } = uploader(pool, family, weights);
  const own = (name: string) => `${at}.self_attn.${name}_proj.weight`;
  const cross = (name: string) => `${at}.cross_attn.${name}_proj.weight`;
  const mlp = (name: string) => `${at}.mlp.${name}_proj.weight`;
  return {
    inputNorm: vector(`${at}.input_layernorm.weight`),
    qkv: matrix(["q", "k", "v"].map(own), shapes.qkv),
    output: matrix([own("o")], shapes.output),
    crossNorm: vector(`${at}.cross_attention_layernorm.weight`),
    crossQ: matrix([cross("q")], shapes.crossQ),
    crossOutput: matrix([cross("o")], shapes.output),
    mlpNorm: vector(`${at}.post_attention_layernorm.weight`),
    gateUp: matrix([mlp("gate"), mlp("up")], shapes.gateUp),
    down: matrix([mlp("down")], shapes.down),
    finalNorm: vector("norm.weight"),
    rope: pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "glide.rope"),
  };
}
