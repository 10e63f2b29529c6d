import { type GpuContext, type PackedMatrix, ropeTable } from "../../../kernels/index.ts";
import type { DecoderFiles } from "../../model/drafter-files.ts";
import { checkTensorShapes, layerTensorShapes } from "../../model/llama-tensors.ts";
import { productShapes } from "../../model/product-shapes.ts";
import { inverseFrequencies } from "../../model/rope.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { type BareLayerWeights, uploader, uploadLayer } from "../../runner/weights.ts";

/** Weights of an EAGLE-1/2 drafter on the GPU. Embedding and LM head are the target's. */
export interface EagleWeights extends BareLayerWeights {
  readonly fc: PackedMatrix;
  /** f32 [hiddenSize], zeros where the file has none */
  readonly fcBias: GPUBuffer;
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
  const upload = uploader(pool, family, weights);
  return {
    fc: upload.matrix(["fc.weight"], shapes.fc),
    fcBias: hasBias ? upload.vector(bias) : pool.storage(4 * hiddenSize, bias),
    ...uploadLayer(upload, shapes, at),
    rope: pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "eagle.rope"),
  };
}
