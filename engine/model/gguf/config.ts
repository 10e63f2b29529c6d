import { ModelFileError } from "../../errors.ts";
import { checkedConfig, DEFAULT_ROPE_THETA, unsupported } from "../config.ts";
import { readTensorF32 } from "../tensor-data.ts";
import type { LlamaConfig } from "../types.ts";
import type { GgufFile } from "./gguf-file.ts";
import type { Metadata } from "./metadata.ts";
import { ROPE_FREQS } from "./weights.ts";

const ARCHITECTURE = "llama";

/**
 * Shape of the decoder in a GGUF file. Defaults are llama.cpp's.
 * @throws ModelFileError malformed when a key is missing or out of range, unsupported when the model computes
 *   something that this engine does not.
 */
export function llamaConfigFromGguf(gguf: GgufFile): LlamaConfig {
  const { metadata } = gguf;
  const file = metadata.file;
  const architecture = metadata.require("general.architecture", metadata.string("general.architecture"));
  if (architecture !== ARCHITECTURE) {
    throw unsupported(file, `architecture ${architecture.slice(0, 100)}; supported: ${ARCHITECTURE}`);
  }
  checkSupported(metadata);
  const required = (key: string) => metadata.require(key, metadata.integer(key));
  const hiddenSize = required("llama.embedding_length");
  const numHeads = required("llama.attention.head_count");
  const headDim = readHeadDim(metadata, hiddenSize / numHeads);
  const ropeFreqFactors = readRopeFreqs(gguf, headDim);
  const epsKey = "llama.attention.layer_norm_rms_epsilon";
  return checkedConfig(
    {
      vocabSize: readVocabSize(gguf),
      hiddenSize,
      numLayers: required("llama.block_count"),
      numHeads,
      numKvHeads: metadata.integer("llama.attention.head_count_kv") ?? numHeads,
      headDim,
      intermediateSize: required("llama.feed_forward_length"),
      maxPositionEmbeddings: required("llama.context_length"),
      rmsNormEps: metadata.require(epsKey, metadata.number(epsKey)),
      ropeTheta: metadata.number("llama.rope.freq_base") ?? DEFAULT_ROPE_THETA,
      ...(ropeFreqFactors && { ropeFreqFactors }),
      tieWordEmbeddings: !gguf.tensors.has("output.weight"),
    },
    file,
  );
}

function checkSupported(metadata: Metadata): void {
  const { file } = metadata;
  const experts = metadata.integer("llama.expert_count") ?? 0;
  if (experts > 0) throw unsupported(file, `mixture of ${experts} experts; only dense models are supported`);
  // As llama.cpp has it: linear where there is a factor alone, which is none where it is 0 or 1.
  const scaling = metadata.string("llama.rope.scaling.type") ?? "linear";
  const factor = metadata.number("llama.rope.scaling.factor") ?? metadata.number("llama.rope.scale_linear") ?? 1;
  const isNone = scaling === "none" || (scaling === "linear" && (factor === 0 || factor === 1));
  if (!isNone) {
    const found = scaling === "linear" ? `linear by ${factor}` : scaling.slice(0, 100);
    throw unsupported(file, `rope scaling ${found}; supported: none, or a ${ROPE_FREQS} tensor`);
  }
}

/** The vocabulary is what the embedding holds: llama.vocab_size is optional and the token list may be shorter. */
function readVocabSize(gguf: GgufFile): number {
  const [rows] = gguf.tensors.get("token_embd.weight")?.shape ?? [];
  if (rows === undefined) throw new ModelFileError("malformed", gguf.file.path, "no tensor token_embd.weight");
  return rows;
}

function readHeadDim(metadata: Metadata, fallback: number): number {
  const keyLength = metadata.integer("llama.attention.key_length") ?? fallback;
  const valueLength = metadata.integer("llama.attention.value_length") ?? fallback;
  const rotary = metadata.integer("llama.rope.dimension_count") ?? keyLength;
  if (keyLength !== valueLength) {
    throw unsupported(metadata.file, `keys of length ${keyLength} beside values of ${valueLength}`);
  }
  if (rotary !== keyLength) {
    throw unsupported(metadata.file, `rotary embedding over ${rotary} of ${keyLength}; it must cover the whole head`);
  }
  return keyLength;
}

function readRopeFreqs(gguf: GgufFile, headDim: number): Float32Array | undefined {
  const tensor = gguf.tensors.get(ROPE_FREQS);
  if (tensor === undefined) return undefined;
  if (tensor.type !== "F32" || tensor.numElements !== headDim / 2) {
    const problem = `${tensor.type} of ${tensor.numElements}, expected F32 of ${headDim / 2}`;
    throw gguf.file.error("malformed", `tensor ${ROPE_FREQS}`, tensor.offset, problem);
  }
  return readTensorF32(gguf.file, tensor);
}
