import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { llamaConfigFromHf } from "../../../engine/model/config.ts";
import { llamaConfigFromGguf } from "../../../engine/model/gguf/config.ts";
import { openGguf } from "../../../engine/model/gguf/gguf-file.ts";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import { type GgufTensor, type TypedValue, writeGguf } from "./gguf-writer.ts";
import { f32Bytes } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";
import { ggufMetadata, ggufTensors, HF_CONFIG } from "./tiny-model.ts";

const folderOf = temporaryFolders();

function failure(code: string, message: RegExp) {
  return expect.objectContaining({ name: "ModelFileError", code, message: expect.stringMatching(message) });
}

const LLAMA3_SCALING = {
  ...{ rope_type: "llama3", factor: 32, low_freq_factor: 1, high_freq_factor: 4 },
  original_max_position_embeddings: 8192,
};

describe("config.json", () => {
  const read = (changes: object) => llamaConfigFromHf({ ...HF_CONFIG, ...changes }, "config.json");

  test("every field", () => {
    expect(read({})).toEqual({
      ...{ vocabSize: 4, hiddenSize: 4, numLayers: 1, numHeads: 2, numKvHeads: 1, headDim: 4, intermediateSize: 4 },
      ...{ maxPositionEmbeddings: 32, rmsNormEps: 1e-5, ropeTheta: 500_000, tieWordEmbeddings: false },
    });
  });

  test("defaults are transformers'", () => {
    const absent = ["num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta"];
    const config = read(Object.fromEntries([...absent, "tie_word_embeddings"].map((key) => [key, null])));
    expect(config).toMatchObject({ numKvHeads: 2, headDim: 2, maxPositionEmbeddings: 2048, rmsNormEps: 1e-6 });
    expect(config).toMatchObject({ ropeTheta: 10_000, tieWordEmbeddings: false });
  });

  test("Llama 3 scaling, in either place", () => {
    const ropeScaling = { factor: 32, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 8192 };
    expect(read({ rope_scaling: LLAMA3_SCALING })).toMatchObject({ ropeScaling, ropeTheta: 500_000 });
    const rope_parameters = { ...LLAMA3_SCALING, rope_theta: 1234 };
    expect(read({ rope_theta: undefined, rope_parameters })).toMatchObject({ ropeScaling, ropeTheta: 1234 });
    expect(read({ rope_scaling: { rope_type: "default" } })).not.toHaveProperty("ropeScaling");
  });

  test.each([
    [
      "another architecture",
      { architectures: ["QwenForCausalLM"] },
      "unsupported",
      /architecture QwenForCausalLM; supp/,
    ],
    ["no architecture", { architectures: [], model_type: "gpt2" }, "unsupported", /architecture gpt2/],
    ["biases", { attention_bias: true }, "unsupported", /attention_bias/],
    ["MLP biases", { mlp_bias: true }, "unsupported", /mlp_bias/],
    ["another activation", { hidden_act: "gelu" }, "unsupported", /hidden_act gelu/],
    ["quantised weights", { quantization_config: { bits: 4 } }, "unsupported", /quantization_config/],
    ["YaRN", { rope_scaling: { type: "yarn", factor: 2 } }, "unsupported", /rope_scaling type yarn/],
    ["partial rotary", { partial_rotary_factor: 0.5 }, "unsupported", /partial_rotary_factor/],
    ["scaling without its numbers", { rope_scaling: { rope_type: "llama3" } }, "malformed", /factor/],
    ["scaling upside down", { rope_scaling: { ...LLAMA3_SCALING, high_freq_factor: 1 } }, "malformed", /high_freq/],
    ["a missing field", { hidden_size: undefined }, "malformed", /config.json: hidden_size/],
    ["a text for a number", { vocab_size: "4" }, "malformed", /vocab_size/],
    ["a negative number", { num_hidden_layers: -1 }, "malformed", /num_hidden_layers/],
    ["a size beyond sense", { vocab_size: 2 ** 40 }, "malformed", /vocabSize is 1099511627776/],
    ["heads that do not share", { num_attention_heads: 3, num_key_value_heads: 2 }, "malformed", /share 2 KV heads/],
    ["an odd head size", { head_dim: 3 }, "malformed", /headDim 3 is odd/],
    ["a broken head size", { head_dim: null, num_attention_heads: 3, num_key_value_heads: 3 }, "malformed", /headDim/],
    ["eps of 1", { rms_norm_eps: 1 }, "malformed", /rmsNormEps/],
  ])("%s is refused", (_what, changes, code, message) => {
    expect(() => read(changes)).toThrow(failure(code, message));
  });

  test("a missing architectures list is Llama where model_type says so", () => {
    expect(read({ architectures: undefined }).numLayers).toBe(1);
  });
});

describe("GGUF metadata", () => {
  function read(changes: Readonly<Record<string, TypedValue | undefined>>, more: GgufTensor[] = []): LlamaConfig {
    const bytes = writeGguf({ metadata: ggufMetadata(changes), tensors: [...ggufTensors(), ...more] });
    const gguf = openGguf(join(folderOf({ "model.gguf": bytes }), "model.gguf"));
    try {
      return llamaConfigFromGguf(gguf);
    } finally {
      gguf.file.close();
    }
  }
  const freqs = (values: number[]): GgufTensor => ({
    ...{ name: "rope_freqs.weight", typeId: 0, shape: [values.length], data: f32Bytes(values) },
  });
  const u32 = (value: number): TypedValue => ({ type: "u32", value });

  test("every field, with llama.cpp's defaults", () => {
    expect(read({})).toEqual({
      ...{ vocabSize: 8, hiddenSize: 32, numLayers: 1, numHeads: 2, numKvHeads: 1, headDim: 16, intermediateSize: 32 },
      ...{ maxPositionEmbeddings: 64, rmsNormEps: 2 ** -17, ropeTheta: 10_000, tieWordEmbeddings: true },
    });
    expect(read({ "llama.attention.head_count_kv": undefined }).numKvHeads).toBe(2);
    expect(read({ "llama.rope.freq_base": { type: "f32", value: 5e5 } }).ropeTheta).toBe(5e5);
    expect(read({ "llama.context_length": { type: "u64", value: 4096n } }).maxPositionEmbeddings).toBe(4096);
    const linearBy = (value: number): Record<string, TypedValue> => ({
      "llama.rope.scaling.type": { type: "string", value: "linear" },
      "llama.rope.scaling.factor": { type: "f32", value },
    });
    for (const none of [0, 1]) expect(read(linearBy(none)).ropeTheta).toBe(read({}).ropeTheta);
  });

  test("a head of its own, a head size of its own, frequency factors", () => {
    const head = { name: "output.weight", typeId: 8, shape: [8, 32], data: new Uint8Array(8 * 34) };
    expect(read({}, [head]).tieWordEmbeddings).toBe(false);
    const sizes = { "llama.attention.key_length": u32(8), "llama.attention.value_length": u32(8) };
    expect(read(sizes).headDim).toBe(8);
    const factors = [1, 1, 1, 2, 4, 8, 8, 8];
    expect(read({}, [freqs(factors)]).ropeFreqFactors).toEqual(Float32Array.from(factors));
  });

  const text = (value: string): TypedValue => ({ type: "string", value });
  test.each([
    ["another architecture", { "general.architecture": text("gemma") }, [], "unsupported", /gemma; supported: llama/],
    ["no architecture", { "general.architecture": undefined }, [], "malformed", /"general.architecture" is missing/],
    ["experts", { "llama.expert_count": u32(8) }, [], "unsupported", /mixture of 8 experts/],
    ["YaRN", { "llama.rope.scaling.type": text("yarn") }, [], "unsupported", /rope scaling yarn/],
    [
      "a scaling of no type",
      { "llama.rope.scaling.factor": { type: "f32", value: 4 } },
      [],
      "unsupported",
      /linear by 4/,
    ],
    ["an old scaling", { "llama.rope.scale_linear": { type: "f32", value: 2 } }, [], "unsupported", /linear by 2/],
    ["keys apart from values", { "llama.attention.key_length": u32(8) }, [], "unsupported", /keys of length 8/],
    ["partial rotary", { "llama.rope.dimension_count": u32(8) }, [], "unsupported", /rotary embedding over 8 of 16/],
    ["a missing key", { "llama.block_count": undefined }, [], "malformed", /"llama.block_count" is missing/],
    ["a text for a number", { "llama.block_count": text("1") }, [], "malformed", /"llama.block_count" is not/],
    ["a negative number", { "llama.block_count": { type: "i32", value: -1 } }, [], "malformed", /non-negative/],
    ["too large a number", { "llama.block_count": { type: "u64", value: 2n ** 60n } }, [], "malformed", /non-negative/],
    ["too few factors", {}, [freqs([1, 1])], "malformed", /tensor rope_freqs.weight at byte \d+: F32 of 2/],
    ["a factor of 0", {}, [freqs([1, 1, 1, 0, 1, 1, 1, 1])], "malformed", /rope_freqs holds a factor/],
  ] as const)("%s is refused", (_what, changes, more, code, message) => {
    expect(() => read(changes, [...more])).toThrow(failure(code, message));
  });
});
