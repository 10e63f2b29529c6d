import { ModelFileError } from "../../errors.ts";
import type { Metadata } from "./metadata.ts";

/** Values of "tokenizer.ggml.token_type". */
export const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The pieces of a GGUF file's tokenizer; arrays are indexed by token id. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly idByToken: ReadonlyMap<string, number>;
}

/** @throws ModelFileError malformed when lists are missing or do not match, or a piece has two ids. */
export function readVocabulary(metadata: Metadata): Vocabulary {
  const key = "tokenizer.ggml.tokens";
  const list = metadata.require(key, metadata.strings(key));
  // llama.cpp's name for a piece without characters, which no text can ask for.
  const tokens = list.map((token, id) => (token === "" ? `[EMPTY_${id}]` : token));
  const types = metadata.numbers("tokenizer.ggml.token_type") ?? tokens.map(() => TOKEN_TYPE.normal);
  if (types.length !== tokens.length) {
    const problem = `${types.length} types for ${tokens.length} tokens`;
    throw new ModelFileError("malformed", metadata.file, `metadata key "tokenizer.ggml.token_type": ${problem}`);
  }
  const idByToken = new Map<string, number>();
  tokens.forEach((token, id) => {
    const first = idByToken.get(token);
    if (first !== undefined) {
      const problem = `${JSON.stringify(token.slice(0, 100))} is token ${first} and token ${id}`;
      throw new ModelFileError("malformed", metadata.file, `metadata key "${key}": ${problem}`);
    }
    idByToken.set(token, id);
  });
  return { tokens, types, idByToken };
}

/** Pieces that are found in text as a whole, as tokenizer.json's `added_tokens`. */
export function addedTokens({ tokens, types }: Vocabulary): readonly unknown[] {
  return tokens.flatMap((content, id) => {
    const type = types[id];
    const special = type === TOKEN_TYPE.control || type === TOKEN_TYPE.unknown;
    if (!special && type !== TOKEN_TYPE.userDefined) return [];
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }];
  });
}
