import { z } from "zod";
import { ModelFileError } from "../errors.ts";
import { LLAMA_ARCHITECTURES, llamaConfigFromHf, unsupported } from "./config.ts";
import { checkSchema } from "./json.ts";
import type { SafetensorsWeights } from "./safetensors-weights.ts";
import type { LlamaConfig, WeightSource } from "./types.ts";

/** An EAGLE-3 drafter opened from disk. */
export interface Eagle3Files {
  readonly kind: "eagle3";
  readonly path: string;
  /** Of its layer; the vocabulary is the target's. */
  readonly config: LlamaConfig;
  readonly weights: WeightSource;
  /** The target's token of each one of the draft vocabulary; absent where that is the target's own. */
  readonly draftTokenIds?: readonly number[];
  /** Layers of the target whose outputs it was trained with, as its configuration numbers them; absent where it does not say. */
  readonly layerIds?: readonly number[];
}

/** What public files call the architecture; many say just Llama. */
const ARCHITECTURES = [
  "LlamaForCausalLMEagle3",
  "Eagle3LlamaForCausalLM",
  "EagleLlamaForCausalLM",
  ...LLAMA_ARCHITECTURES,
];
const layerIds = z.array(z.number().int().nonnegative()).length(3);
const eagle3Schema = z.looseObject({
  eagle_aux_hidden_state_layer_ids: layerIds.nullish(),
  eagle_config: z.looseObject({ eagle_aux_hidden_state_layer_ids: layerIds.nullish() }).nullish(),
  norm_before_residual: z.boolean().nullish(),
});

/** Its tensors tell: a layer with a norm of the fused features. */
export function isEagle3(weights: WeightSource): boolean {
  return weights.has("midlayer.hidden_norm.weight");
}

/** @throws ModelFileError where configuration or vocabulary map are damaged or of a variant that is not supported */
export function eagle3Files(json: unknown, weights: SafetensorsWeights, path: string, file: string): Eagle3Files {
  const config = llamaConfigFromHf(json, file, ARCHITECTURES);
  const options = checkSchema(eagle3Schema, json, file);
  if (options.norm_before_residual) {
    throw unsupported(
      file,
      "norm_before_residual; EAGLE-3 whose residual stream begins with the fused features is supported",
    );
  }
  const ids = options.eagle_aux_hidden_state_layer_ids ?? options.eagle_config?.eagle_aux_hidden_state_layer_ids;
  const draftTokenIds = draftVocabulary(weights, config.vocabSize, path);
  return {
    ...{ kind: "eagle3", path, config, weights },
    ...(draftTokenIds ? { draftTokenIds } : {}),
    ...(ids ? { layerIds: ids } : {}),
  };
}

/**
 * The target's tokens of the draft vocabulary: place i stands for i + d2t[i]. `t2d`, where a file has it, says of each of the target's
 * tokens whether it has a place.
 */
function draftVocabulary(weights: SafetensorsWeights, vocabSize: number, path: string): readonly number[] | undefined {
  const tokenIds = weights.readIntegers("d2t")?.map((offset, place) => place + offset);
  if (tokenIds === undefined) return undefined;
  const fail = (problem: string) => new ModelFileError("malformed", path, problem);
  const places = new Map(tokenIds.map((tokenId, place) => [tokenId, place]));
  const outside = tokenIds.find((tokenId) => !(Number.isInteger(tokenId) && tokenId >= 0 && tokenId < vocabSize));
  if (outside !== undefined) throw fail(`d2t names token ${outside}, but the vocabulary has ${vocabSize}`);
  if (places.size < tokenIds.length) throw fail("d2t names a token twice");
  const mask = weights.readIntegers("t2d");
  const wrong = mask?.findIndex((has, tokenId) => (has !== 0) !== places.has(tokenId)) ?? -1;
  if (wrong >= 0) throw fail(`d2t and t2d do not agree about token ${wrong}`);
  return tokenIds;
}
