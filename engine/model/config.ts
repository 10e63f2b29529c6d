import { z } from "zod";
import { ModelFileError } from "../errors.ts";
import { checkSchema } from "./json.ts";
import type { Llama3RopeScaling, LlamaConfig } from "./types.ts";

/** Hugging Face architectures that are a plain Llama decoder. */
export const LLAMA_ARCHITECTURES: readonly string[] = ["LlamaForCausalLM"];
export const DEFAULT_ROPE_THETA = 10_000;
/** No dimension of a real model comes near; keeps products of two exact in a double. */
const MAX_DIMENSION = 2 ** 26;

const positive = z.number().positive();
const count = z.number().int().positive();
const ropeSchema = z.looseObject({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: positive.nullish(),
  partial_rotary_factor: positive.nullish(),
});
const llama3Schema = z.object({
  factor: positive,
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: count,
});
/** Defaults are those of transformers' LlamaConfig. */
const configSchema = z.object({
  architectures: z.array(z.string()).nullish(),
  model_type: z.string().nullish(),
  vocab_size: count,
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  intermediate_size: count,
  max_position_embeddings: count.nullish(),
  rms_norm_eps: positive.nullish(),
  rope_theta: positive.nullish(),
  rope_scaling: ropeSchema.nullish(),
  /** Where transformers 5 puts rope_theta and rope_scaling. */
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: positive.nullish(),
  hidden_act: z.string().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  quantization_config: z.unknown().optional(),
});
type HfConfig = z.infer<typeof configSchema>;
type Rope = z.infer<typeof ropeSchema>;

/**
 * Shape of the decoder that a config.json describes.
 * @param architectures what `architectures` may name; a drafter's reader passes its own.
 * @throws ModelFileError malformed when a field is missing or out of range, unsupported when the model computes
 *   something that this engine does not.
 */
export function llamaConfigFromHf(json: unknown, file: string, architectures = LLAMA_ARCHITECTURES): LlamaConfig {
  checkArchitecture(json, file, architectures);
  const hf = checkSchema(configSchema, json, file);
  checkSupported(hf, file);
  const rope = hf.rope_parameters ?? hf.rope_scaling ?? {};
  const ropeScaling = llama3Scaling(rope, file);
  return checkedConfig(
    {
      vocabSize: hf.vocab_size,
      hiddenSize: hf.hidden_size,
      numLayers: hf.num_hidden_layers,
      numHeads: hf.num_attention_heads,
      numKvHeads: hf.num_key_value_heads ?? hf.num_attention_heads,
      headDim: hf.head_dim ?? hf.hidden_size / hf.num_attention_heads,
      intermediateSize: hf.intermediate_size,
      maxPositionEmbeddings: hf.max_position_embeddings ?? 2048,
      rmsNormEps: hf.rms_norm_eps ?? 1e-6,
      ropeTheta: rope.rope_theta ?? hf.rope_theta ?? DEFAULT_ROPE_THETA,
      ...(ropeScaling && { ropeScaling }),
      tieWordEmbeddings: hf.tie_word_embeddings ?? false,
    },
    file,
  );
}

/** Told before the other fields are looked at, which a foreign architecture need not have. */
function checkArchitecture(json: unknown, file: string, supported: readonly string[]): void {
  const schema = configSchema.pick({ architectures: true, model_type: true });
  const { architectures, model_type } = checkSchema(schema, json, file);
  const found = architectures?.length ? architectures : [model_type ?? "none named"];
  if (found.some((name) => supported.includes(name))) return;
  if (!architectures?.length && model_type === "llama") return;
  throw unsupported(file, `architecture ${found.join(", ")}; supported: ${supported.join(", ")}`);
}

function checkSupported(hf: HfConfig, file: string): void {
  if (hf.attention_bias) throw unsupported(file, "attention_bias is true; only layers without biases are supported");
  if (hf.mlp_bias) throw unsupported(file, "mlp_bias is true; only layers without biases are supported");
  if ((hf.hidden_act ?? "silu") !== "silu") throw unsupported(file, `hidden_act ${hf.hidden_act}; supported: silu`);
  if ((hf.rope_parameters?.partial_rotary_factor ?? hf.partial_rotary_factor ?? 1) !== 1) {
    throw unsupported(file, "partial_rotary_factor; rotary embedding must cover the whole head");
  }
  if (hf.quantization_config != null) {
    throw unsupported(
      file,
      "quantization_config; safetensors must hold F32, F16 or BF16, quantised models come as GGUF",
    );
  }
}

function llama3Scaling(rope: Rope, file: string): Llama3RopeScaling | undefined {
  const type = rope.rope_type ?? rope.type ?? "default";
  if (type === "default") return undefined;
  if (type !== "llama3") throw unsupported(file, `rope_scaling type ${type}; supported: default, llama3`);
  const fields = checkSchema(llama3Schema, rope, file);
  return {
    factor: fields.factor,
    lowFreqFactor: fields.low_freq_factor,
    highFreqFactor: fields.high_freq_factor,
    originalMaxPositionEmbeddings: fields.original_max_position_embeddings,
  };
}

/** `config` if its numbers make a decoder. @throws ModelFileError malformed naming the first that do not. */
export function checkedConfig(config: LlamaConfig, file: string): LlamaConfig {
  const fail = (problem: string) => new ModelFileError("malformed", file, problem);
  const { numHeads, numKvHeads, headDim, rmsNormEps, ropeTheta, ropeFreqFactors } = config;
  for (const [field, value] of Object.entries(config)) {
    if (typeof value !== "number" || field === "rmsNormEps" || field === "ropeTheta") continue;
    if (!Number.isInteger(value) || value < 1 || value > MAX_DIMENSION) {
      throw fail(`${field} is ${value}, not an integer from 1 to ${MAX_DIMENSION}`);
    }
  }
  if (numHeads % numKvHeads !== 0) throw fail(`${numHeads} heads do not share ${numKvHeads} KV heads evenly`);
  if (headDim % 2 !== 0) throw fail(`headDim ${headDim} is odd; rotary embedding needs pairs`);
  if (!(rmsNormEps > 0 && rmsNormEps < 1)) throw fail(`rmsNormEps ${rmsNormEps} is not between 0 and 1`);
  if (!(ropeTheta > 0 && Number.isFinite(ropeTheta))) throw fail(`ropeTheta ${ropeTheta} is not a positive number`);
  const { ropeScaling } = config;
  if (ropeScaling && ropeScaling.highFreqFactor <= ropeScaling.lowFreqFactor) {
    throw fail("rope_scaling: high_freq_factor is not above low_freq_factor");
  }
  if (ropeFreqFactors?.some((factor) => !(factor > 0 && Number.isFinite(factor)))) {
    throw fail("rope_freqs holds a factor that is not a positive number");
  }
  return config;
}

export function unsupported(file: string, what: string): ModelFileError {
  return new ModelFileError("unsupported", file, what);
}
