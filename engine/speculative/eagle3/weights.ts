import {
  type GpuContext,
  logitsStride,
  NO_PLACE,
  type PackedMatrix,
  packRows,
  ropeTable,
} from "../../../kernels/index.ts";
import type { Eagle3Files } from "../../model/eagle3-files.ts";
import { checkTensorShapes, layerTensorShapes } from "../../model/llama-tensors.ts";
import { productShapes } from "../../model/product-shapes.ts";
import { inverseFrequencies } from "../../model/rope.ts";
import type { LlamaConfig } from "../../model/types.ts";
import { type BareLayerWeights, uploader, uploadLayer } from "../../runner/weights.ts";

const LAYER = "midlayer";
const EMBEDDING = "embed_tokens.weight";
const NUM_LEVELS = 3;

/** Weights of an EAGLE-3 drafter on the GPU. */
export interface Eagle3Weights extends BareLayerWeights {
  /** Storage type [vocabSize, hiddenSize]; absent where the file leaves it to the target. */
  readonly embedding?: GPUBuffer;
  /** Fuses the levels. */
  readonly fc: PackedMatrix;
  /** f32 [2, hiddenSize]: of the norms of embedding and feature */
  readonly inputGains: GPUBuffer;
  /** f32 [hiddenSize] */
  readonly finalNorm: GPUBuffer;
  /** Over the draft vocabulary. */
  readonly lmHead: PackedMatrix;
  /** u32 [vocabSize]: each token's place in the draft vocabulary, or NO_PLACE */
  readonly places: GPUBuffer;
  /** f32 [maxModelLen, 2, headDim / 2] */
  readonly rope: GPUBuffer;
}

/** Products of an EAGLE-3 layer: a Llama layer's on a doubled input, the fusion, and an LM head of its own. */
export function eagle3Shapes(config: LlamaConfig, numDraftTokens: number) {
  const { hiddenSize } = config;
  const shapes = productShapes(config);
  return {
    ...shapes,
    qkv: { ...shapes.qkv, numInputs: 2 * hiddenSize },
    fc: { numInputs: NUM_LEVELS * hiddenSize, numOutputs: hiddenSize },
    lmHead: { numInputs: hiddenSize, numOutputs: logitsStride(numDraftTokens) },
  };
}

/** @throws ModelFileError */
export function uploadEagle3(
  { pool, family }: GpuContext,
  { config, weights, path, draftTokenIds }: Omit<Eagle3Files, "kind">,
  maxModelLen: number,
): Eagle3Weights {
  const { vocabSize, hiddenSize } = config;
  const numDraftTokens = draftTokenIds?.length ?? vocabSize;
  const shapes = eagle3Shapes(config, numDraftTokens);
  const [inputNorm, hiddenNorm] = [`${LAYER}.input_layernorm.weight`, `${LAYER}.hidden_norm.weight`];
  const isDoubled = (name: string) => /[qkv]_proj/.test(name);
  checkTensorShapes(
    [
      ...layerTensorShapes(config, LAYER).map(([name, [rows = 0, ...inputs]]) => {
        return [name, [rows, ...(isDoubled(name) ? [2 * hiddenSize] : inputs)]] as const;
      }),
      [hiddenNorm, [hiddenSize]],
      ["fc.weight", [hiddenSize, NUM_LEVELS * hiddenSize]],
      ["norm.weight", [hiddenSize]],
      ["lm_head.weight", [numDraftTokens, hiddenSize]],
      ...(weights.has(EMBEDDING) ? [[EMBEDDING, [vocabSize, hiddenSize]] as const] : []),
    ],
    weights,
    path,
  );
  const upload = uploader(pool, family, weights);
  const gains = new Float32Array(2 * hiddenSize);
  gains.set(weights.readF32(inputNorm));
  gains.set(weights.readF32(hiddenNorm), hiddenSize);
  return {
    ...(weights.has(EMBEDDING)
      ? { embedding: pool.upload(packRows(family, weights.readF32(EMBEDDING)), "eagle3.embedding") }
      : {}),
    fc: upload.matrix(["fc.weight"], shapes.fc),
    inputGains: pool.upload(gains, "eagle3.inputGains"),
    ...uploadLayer(upload, shapes, LAYER),
    finalNorm: upload.vector("norm.weight"),
    lmHead: upload.matrix(["lm_head.weight"], shapes.lmHead),
    places: pool.upload(placesOf(draftTokenIds, vocabSize), "eagle3.places"),
    rope: pool.upload(ropeTable(inverseFrequencies(config), maxModelLen), "eagle3.rope"),
  };
}

function placesOf(draftTokenIds: readonly number[] | undefined, vocabSize: number): Uint32Array<ArrayBuffer> {
  if (draftTokenIds === undefined) return Uint32Array.from({ length: vocabSize }, (_, tokenId) => tokenId);
  const places = new Uint32Array(vocabSize).fill(NO_PLACE);
  for (const [place, tokenId] of draftTokenIds.entries()) places[tokenId] = place;
  return places;
}
