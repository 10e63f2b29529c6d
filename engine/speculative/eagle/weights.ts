import { type GpuContext, type PackedMatrix, ropeTable } from "../../../kernels/index.ts";
import type { DecoderFiles } from "../../model/drafter-files.ts";
import { checkTensorShapes, layerTensorShapes } from "../../model/llama-tensors.ts";
import { productShapes } from "../../model/product-shapes.ts";
import { inverseFrequencies } from "../../model/rope.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { uploader } from "../../runner/weights.ts";

/** Weights of an EAGLE-1/2 drafter on the GPU. Embedding and LM head are the target's. */
export interface EagleWeights {
  readonly fc: PackedMatrix;
  /** f32 [hiddenSize], zeros where the file has none */
  readonly fcBias: GPUBuffer;
  /** Rows of q_proj, k_proj and v_proj in one matrix. */
  readonly qkv: PackedMatrix;
  readonly output: PackedMatrix;
  readonly mlpNorm: GPUBuffer;
  /** Rows of gate_proj and up_proj in one matrix. */
  readonly gateUp: PackedMatrix;
  readonly down: PackedMatrix;
  /** f32 [maxModelLen, 2, headDim / 2] */
  readonly rope: GPUBuffer;
}

/** Products of an EAGLE layer: a Llama layer's, and the one that joins token and feature. */
export function eagleShapes(config: LlamaConfig) {
  const { hiddenSize } = config;
  return { ...productShapes(config), fc: { numInputs: 2 * hiddenSize, numOutputs: hiddenSize } };
}

/** The layer has no norm before its attention. @throws ModelFileError */
export function uploadEagle(
  { pool, family }: GpuContext,
  { config, weights, path }: Pick<DecoderFiles, "config" | "weights" | "path">,
  maxModelLen: number,
): EagleWeights {
  const { hiddenSize } = config;
  const at = "layers.0";
  const layer = layerTensorShapes(config, at).filter(([name]) => name !== `${at}.input_layernorm.weight`);
  const bias = "fc.bias";
  const hasBias = weights.has(bias);
  checkTensorShapes(
    [...layer, ["fc.weight", [hiddenSize, 2 * hiddenSize]], ...(hasBias ? [[bias, [hiddenSize]] as const] : [])],
    weights,
    path,
  );
  const shapes = eagleShapes(config);
  const { vector, matrix } = uploader(pool, family, weights);
  const own = (name: string) => `${at}.self_attn.${name}_proj.weight`;
  const mlp = (name: string) => `${at}.mlp.${name}_proj.weight`;
  return {
    fc: matrix(["fc.weight"], shapes.fc),
    fcBias: hasBias ? vector(bias) : pool.storage(4 * hiddenSize, bias),
    qkv: matrix(["q", "k", "v"].map(own), shapes.qkv),
    output: matrix([own("o")], shapes.output),
    mlpNorm: vector(`${at}.post_attention_layernorm.weight`),
    gateUp: matrix([mlp("gate"), mlp("up")], shapes.gateUp),
    down: matrix([mlp("down")], shapes.down),
    rope: pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "eagle.rope"),
  };
}
