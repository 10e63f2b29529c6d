/** What a GGUF name of the llama architecture stands for. */
export interface TranslatedName {
  /** Hugging Face's name. */
  readonly name: string;
  /** Rows whose order inside each head differs between the two conventions. */
  readonly rotary?: "query" | "key";
}

const TOP: ReadonlyMap<string, string> = new Map([
  ["token_embd", "model.embed_tokens"],
  ["output_norm", "model.norm"],
  ["output", "lm_head"],
]);

const IN_LAYER: ReadonlyMap<string, string> = new Map([
  ["attn_norm", "input_layernorm"],
  ["attn_q", "self_attn.q_proj"],
  ["attn_k", "self_attn.k_proj"],
  ["attn_v", "self_attn.v_proj"],
  ["attn_output", "self_attn.o_proj"],
  ["ffn_norm", "post_attention_layernorm"],
  ["ffn_gate", "mlp.gate_proj"],
  ["ffn_up", "mlp.up_proj"],
  ["ffn_down", "mlp.down_proj"],
]);

/** "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; undefined for a name of no known role. */
export function translateName(gguf: string): TranslatedName | undefined {
  const parts = /^(?:blk\.(0|[1-9]\d{0,4})\.)?([a-z_]+)\.(weight|bias)$/.exec(gguf);
  const [, layer, role = "", kind] = parts ?? [];
  if (layer === undefined) {
    const top = TOP.get(role);
    return top === undefined ? undefined : { name: `${top}.${kind}` };
  }
  const inner = IN_LAYER.get(role);
  if (inner === undefined) return undefined;
  const name = `model.layers.${layer}.${inner}.${kind}`;
  if (role === "attn_q") return { name, rotary: "query" };
  if (role === "attn_k") return { name, rotary: "key" };
  return { name };
}
