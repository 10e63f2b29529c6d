import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LlamaConfig } from "../../../../engine/model/types.ts";
import { Random } from "../../../support/random.ts";
import { f32Bytes, type SafeTensor, writeSafetensors } from "../../model/safetensors-writer.ts";

const INTERMEDIATE = 64;
const NUM_HEADS = 2;

/**
 * A folder with an EAGLE-3 drafter of random weights for a target. It drafts nothing but `tokenIds`, so that with frequent tokens some
 * are accepted. To be removed by the caller.
 * @param tokenIds ascending
 */
export function randomEagle3Folder(target: LlamaConfig, tokenIds: readonly number[]): string {
  const { hiddenSize, vocabSize, headDim } = target;
  const random = new Random(5);
  const tensor = (rows: number, columns: number): SafeTensor => {
    const values = Array.from({ length: rows * columns }, () => (2 * random.next() - 1) / Math.sqrt(columns));
    return { dtype: "F32", shape: [rows, columns], data: f32Bytes(values) };
  };
  const gain: SafeTensor = { dtype: "F32", shape: [hiddenSize], data: f32Bytes(new Float32Array(hiddenSize).fill(1)) };
  const offsets = BigInt64Array.from(tokenIds, (tokenId, place) => BigInt(tokenId - place));
  const mask = new Uint8Array(vocabSize);
  for (const tokenId of tokenIds) mask[tokenId] = 1;
  const size = NUM_HEADS * headDim;
  const folder = mkdtempSync(join(tmpdir(), "canopy-eagle3-"));
  const config = {
    ...{ architectures: ["LlamaForCausalLMEagle3"], vocab_size: vocabSize, draft_vocab_size: tokenIds.length },
    ...{ hidden_size: hiddenSize, num_hidden_layers: 1, intermediate_size: INTERMEDIATE, head_dim: headDim },
    ...{ num_attention_heads: NUM_HEADS, num_key_value_heads: 1, max_position_embeddings: 2048, rms_norm_eps: 1e-5 },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(
    join(folder, "model.safetensors"),
    writeSafetensors({
      d2t: { dtype: "I64", shape: [tokenIds.length], data: new Uint8Array(offsets.buffer) },
      t2d: { dtype: "BOOL", shape: [vocabSize], data: mask },
      "fc.weight": tensor(hiddenSize, 3 * hiddenSize),
      "midlayer.hidden_norm.weight": gain,
      "midlayer.input_layernorm.weight": gain,
      "midlayer.self_attn.q_proj.weight": tensor(size, 2 * hiddenSize),
      "midlayer.self_attn.k_proj.weight": tensor(headDim, 2 * hiddenSize),
      "midlayer.self_attn.v_proj.weight": tensor(headDim, 2 * hiddenSize),
      "midlayer.self_attn.o_proj.weight": tensor(hiddenSize, size),
      "midlayer.post_attention_layernorm.weight": gain,
      "midlayer.mlp.gate_proj.weight": tensor(INTERMEDIATE, hiddenSize),
      "midlayer.mlp.up_proj.weight": tensor(INTERMEDIATE, hiddenSize),
      "midlayer.mlp.down_proj.weight": tensor(hiddenSize, INTERMEDIATE),
      "norm.weight": gain,
      "lm_head.weight": tensor(tokenIds.length, hiddenSize),
    }),
  );
  return folder;
}
