import { Random } from "../../support/random.ts";
import { type GgufContents, type GgufTensor, type TypedValue, writeGguf } from "./gguf-writer.ts";
import { f32Bytes, type SafeTensor, writeSafetensors } from "./safetensors-writer.ts";

const HIDDEN = 32;
const KV_ROWS = 16;
const INTERMEDIATE = 32;
/** Special tokens first, then a few letters of the byte-level alphabet and two merged pieces. */
export const TINY_TOKENS: readonly string[] = ["<|endoftext|>", "<|im_end|>", "a", "b", "c", "Ġ", "ab", "Ġab"];

/** One block of Q8_0: scale 2^-7, quants from `random`. */
function q8Blocks(random: Random, numBlocks: number): Uint8Array {
  const bytes = Uint8Array.from({ length: 34 * numBlocks }, () => random.int(0, 255));
  for (let at = 0; at < bytes.length; at += 34) bytes.set([0x00, 0x20], at);
  return bytes;
}

export function ggufMetadata(changes: Readonly<Record<string, TypedValue | undefined>> = {}): GgufContents["metadata"] {
  const count = (value: number): TypedValue => ({ type: "u32", value });
  const all: Readonly<Record<string, TypedValue | undefined>> = {
    "general.architecture": { type: "string", value: "llama" },
    "llama.context_length": count(64),
    "llama.embedding_length": count(HIDDEN),
    "llama.block_count": count(1),
    "llama.feed_forward_length": count(INTERMEDIATE),
    "llama.attention.head_count": count(2),
    "llama.attention.head_count_kv": count(1),
    "llama.attention.layer_norm_rms_epsilon": { type: "f32", value: 2 ** -17 },
    "tokenizer.ggml.model": { type: "string", value: "gpt2" },
    "tokenizer.ggml.pre": { type: "string", value: "gpt-2" },
    "tokenizer.ggml.tokens": { type: "string", value: TINY_TOKENS },
    "tokenizer.ggml.token_type": { type: "i32", value: TINY_TOKENS.map((_, id) => (id < 2 ? 3 : 1)) },
    "tokenizer.ggml.merges": { type: "string", value: ["a b", "Ġ ab"] },
    "tokenizer.ggml.bos_token_id": count(0),
    "tokenizer.ggml.eos_token_id": count(1),
    ...changes,
  };
  const given = Object.entries(all).filter((entry): entry is [string, TypedValue] => entry[1] !== undefined);
  return Object.fromEntries(given);
}

/** Every weight of a one-layer model: matrices Q8_0, norms F32. */
export function ggufTensors(): GgufTensor[] {
  const random = new Random(1);
  const matrix = (name: string, rows: number, columns: number): GgufTensor => ({
    ...{ name: `${name}.weight`, typeId: 8, shape: [rows, columns] },
    data: q8Blocks(random, (rows * columns) / 32),
  });
  const norm = (name: string): GgufTensor => ({
    ...{ name: `${name}.weight`, typeId: 0, shape: [HIDDEN] },
    data: f32Bytes(Array.from({ length: HIDDEN }, () => 1)),
  });
  return [
    matrix("token_embd", TINY_TOKENS.length, HIDDEN),
    norm("output_norm"),
    norm("blk.0.attn_norm"),
    matrix("blk.0.attn_q", HIDDEN, HIDDEN),
    matrix("blk.0.attn_k", KV_ROWS, HIDDEN),
    matrix("blk.0.attn_v", KV_ROWS, HIDDEN),
    matrix("blk.0.attn_output", HIDDEN, HIDDEN),
    norm("blk.0.ffn_norm"),
    matrix("blk.0.ffn_gate", INTERMEDIATE, HIDDEN),
    matrix("blk.0.ffn_up", INTERMEDIATE, HIDDEN),
    matrix("blk.0.ffn_down", HIDDEN, INTERMEDIATE),
  ];
}

/** A whole model in some 7 kB. */
export function tinyGguf(changes: Readonly<Record<string, TypedValue | undefined>> = {}): Buffer {
  return writeGguf({ metadata: ggufMetadata(changes), tensors: ggufTensors() });
}

export const HF_CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 4,
  hidden_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 4,
  intermediate_size: 4,
  max_position_embeddings: 32,
  rms_norm_eps: 1e-5,
  rope_theta: 500_000,
  tie_word_embeddings: false,
};

/** Weights of `HF_CONFIG`, whose head size is apart from dim / heads, all F32 and all different. */
export function hfTensors(): Record<string, SafeTensor> {
  let next = 0;
  const tensor = (...shape: number[]): SafeTensor => {
    const length = shape.reduce((a, b) => a * b, 1);
    return { dtype: "F32", shape, data: f32Bytes(Array.from({ length }, () => next++ / 64)) };
  };
  const layer = "model.layers.0";
  return {
    "model.embed_tokens.weight": tensor(4, 4),
    "model.norm.weight": tensor(4),
    "lm_head.weight": tensor(4, 4),
    [`${layer}.input_layernorm.weight`]: tensor(4),
    [`${layer}.self_attn.q_proj.weight`]: tensor(8, 4),
    [`${layer}.self_attn.k_proj.weight`]: tensor(4, 4),
    [`${layer}.self_attn.v_proj.weight`]: tensor(4, 4),
    [`${layer}.self_attn.o_proj.weight`]: tensor(4, 8),
    [`${layer}.post_attention_layernorm.weight`]: tensor(4),
    [`${layer}.mlp.gate_proj.weight`]: tensor(4, 4),
    [`${layer}.mlp.up_proj.weight`]: tensor(4, 4),
    [`${layer}.mlp.down_proj.weight`]: tensor(4, 4),
  };
}

export const HF_TOKENIZER = {
  added_tokens: [
    { id: 0, content: "<s>", special: true },
    { id: 3, content: "<|im_end|>", special: true },
  ],
  model: { type: "BPE", vocab: { "<s>": 0, a: 1, b: 2, "<|im_end|>": 3 }, merges: [] },
};

/** A whole Hugging Face folder, for temporaryFolders. */
export function hfFolder(): Record<string, Uint8Array | object> {
  return {
    "config.json": HF_CONFIG,
    "generation_config.json": { eos_token_id: [3, 0], temperature: 0.6, top_p: 0.9 },
    "tokenizer.json": HF_TOKENIZER,
    "tokenizer_config.json": { bos_token: "<s>", eos_token: { content: "<|im_end|>" }, chat_template: "hi" },
    "model.safetensors": writeSafetensors(hfTensors()),
  };
}
