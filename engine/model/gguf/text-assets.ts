import { ModelFileError } from "../../errors.ts";
import type { TextAssets } from "../types.ts";
import type { Metadata } from "./metadata.ts";
import { ggufTokenizer } from "./tokenizer.ts";
import { readVocabulary, TOKEN_TYPE, type Vocabulary } from "./vocabulary.ts";

/** Control tokens that end a turn or a text in every model that has them; older files name only one of theirs. */
const END_SPELLINGS: readonly string[] = [
  ...["<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>"],
  ...["<|end|>", "<|return|>", "<end_of_turn>", "<|endofturn|>", "</s>"],
];

/**
 * Tokenizer, chat template and control ids of a GGUF file; undefined where it has no tokenizer.
 * @param vocabSize rows of the embedding, which every token needs.
 * @throws ModelFileError malformed, or unsupported for a tokenizer of another kind.
 */
export function textAssetsFromGguf(metadata: Metadata, vocabSize: number): TextAssets | undefined {
  const model = metadata.string("tokenizer.ggml.model") ?? "none";
  if (model === "none" || model === "no_vocab") return undefined;
  const vocabulary = readVocabulary(metadata);
  const numTokens = vocabulary.tokens.length;
  if (numTokens > vocabSize) {
    throw new ModelFileError(
      "malformed",
      metadata.file,
      `${numTokens} tokens, but the embedding has ${vocabSize} rows`,
    );
  }
  const { tokenizerJson, defaults } = ggufTokenizer(metadata, model, vocabulary);
  const tokenId = (name: string) => readTokenId(metadata, `tokenizer.ggml.${name}_token_id`, numTokens);
  const bosTokenId = tokenId("bos") ?? defaults.bosTokenId;
  const ends = [tokenId("eos") ?? defaults.eosTokenId, tokenId("eot"), tokenId("eom"), ...endIdsBySpelling(vocabulary)];
  const chatTemplate = metadata.string("tokenizer.chat_template");
  return {
    tokenizerJson,
    ...(chatTemplate !== undefined && { chatTemplate }),
    ...(bosTokenId !== undefined && { bosTokenId }),
    addBos: bosTokenId !== undefined && (metadata.boolean("tokenizer.ggml.add_bos_token") ?? defaults.addBos),
    endTokenIds: [...new Set(ends.filter((id) => id !== undefined))],
  };
}

function readTokenId(metadata: Metadata, key: string, numTokens: number): number | undefined {
  const id = metadata.integer(key);
  if (id !== undefined && id >= numTokens) {
    throw new ModelFileError("malformed", metadata.file, `metadata key "${key}": ${id} of ${numTokens} tokens`);
  }
  return id;
}

function endIdsBySpelling({ idByToken, types }: Vocabulary): (number | undefined)[] {
  return END_SPELLINGS.map((spelling) => {
    const id = idByToken.get(spelling);
    return id !== undefined && types[id] === TOKEN_TYPE.control ? id : undefined;
  });
}
