import { ModelFileError } from "../../errors.ts";
import { unsupported } from "../config.ts";
import type { Metadata } from "./metadata.ts";
import { findPreTokenizer } from "./pre-tokenizers.ts";
import { addedTokens, TOKEN_TYPE, type Vocabulary } from "./vocabulary.ts";

/** A tokenizer and what its kind says where the file is silent. */
interface GgufTokenizer {
  /** Contents of a tokenizer.json that gives the same ids. */
  readonly tokenizerJson: unknown;
  readonly defaults: { readonly addBos: boolean; readonly bosTokenId?: number; readonly eosTokenId?: number };
}

const MERGES = "tokenizer.ggml.merges";
const SCORES = "tokenizer.ggml.scores";
/** SentencePiece's space. */
const SPACE = "▁";

/**
 * @param model "tokenizer.ggml.model".
 * @throws ModelFileError malformed, or unsupported for tokenizers other than byte-level BPE ("gpt2") and
 *   SentencePiece BPE ("llama").
 */
export function ggufTokenizer(metadata: Metadata, model: string, vocabulary: Vocabulary): GgufTokenizer {
  if (model === "gpt2") return byteLevelBpe(metadata, vocabulary);
  if (model === "llama") return sentencePieceBpe(metadata, vocabulary);
  throw unsupported(
    metadata.file,
    `tokenizer.ggml.model ${JSON.stringify(model.slice(0, 100))}; supported: gpt2, llama`,
  );
}

function byteLevelBpe(metadata: Metadata, vocabulary: Vocabulary): GgufTokenizer {
  const pre = metadata.require("tokenizer.ggml.pre", metadata.string("tokenizer.ggml.pre"));
  const { preTokenizer, ignoreMerges, addBos } = findPreTokenizer(pre, metadata.file);
  if (metadata.boolean("tokenizer.ggml.add_space_prefix") === true) {
    throw unsupported(metadata.file, "tokenizer.ggml.add_space_prefix with a byte-level tokenizer");
  }
  const merges = metadata.require(MERGES, metadata.strings(MERGES)).map((merge) => {
    // The first half may itself be a space, never empty.
    const space = merge.indexOf(" ", 1);
    if (space > 0) return [merge.slice(0, space), merge.slice(space + 1)] as const;
    const problem = `${JSON.stringify(merge.slice(0, 100))} is not a pair of pieces`;
    throw new ModelFileError("malformed", metadata.file, `metadata key "${MERGES}": ${problem}`);
  });
  const tokenizerJson = tokenizerObject(vocabulary, {
    pre_tokenizer: preTokenizer,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { ignore_merges: ignoreMerges, merges },
  });
  return { tokenizerJson, defaults: { addBos } };
}

/** As the converted tokenizer.json of Llama 2: the space goes before every run of text, as in llama.cpp. */
function sentencePieceBpe(metadata: Metadata, vocabulary: Vocabulary): GgufTokenizer {
  const prefix = metadata.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const unknownId = metadata.integer("tokenizer.ggml.unknown_token_id") ?? 0;
  const replace = (from: string, to: string) => ({ type: "Replace", pattern: { String: from }, content: to });
  const tokenizerJson = tokenizerObject(vocabulary, {
    normalizer: {
      type: "Sequence",
      normalizers: [...(prefix ? [{ type: "Prepend", prepend: SPACE }] : []), replace(" ", SPACE)],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        ...[replace(SPACE, " "), { type: "ByteFallback" }, { type: "Fuse" }],
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      merges: mergesByScore(metadata, vocabulary),
      unk_token: vocabulary.tokens[unknownId] ?? null,
      fuse_unk: true,
      byte_fallback: vocabulary.types.includes(TOKEN_TYPE.byte),
    },
  });
  return { tokenizerJson, defaults: { addBos: true, bosTokenId: 1, eosTokenId: 2 } };
}

/**
 * SentencePiece joins the neighbours whose joint piece has the highest score: the same as merging by rank where every
 * split of a piece into two others ranks by the piece's score (transformers' generate_merges).
 */
function mergesByScore(metadata: Metadata, { tokens, types, idByToken }: Vocabulary): readonly (readonly string[])[] {
  const scores = metadata.require(SCORES, metadata.numbers(SCORES));
  if (scores.length !== tokens.length) {
    const problem = `${scores.length} scores for ${tokens.length} tokens`;
    throw new ModelFileError("malformed", metadata.file, `metadata key "${SCORES}": ${problem}`);
  }
  const halfId = (piece: string) => {
    const id = idByToken.get(piece);
    return id !== undefined && types[id] === TOKEN_TYPE.normal ? id : undefined;
  };
  const splits = tokens.flatMap((token, id) => {
    if (types[id] !== TOKEN_TYPE.normal) return [];
    const score = scores[id] ?? 0;
    const found: { pair: readonly string[]; score: number; left: number; right: number }[] = [];
    for (let at = 1; at < token.length; at++) {
      const pair = [token.slice(0, at), token.slice(at)] as const;
      const left = halfId(pair[0]);
      const right = left === undefined ? undefined : halfId(pair[1]);
      if (left !== undefined && right !== undefined) found.push({ pair, score, left, right });
    }
    return found;
  });
  return splits.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right).map(({ pair }) => pair);
}

interface Parts {
  readonly normalizer?: unknown;
  readonly pre_tokenizer?: unknown;
  readonly decoder: unknown;
  readonly model: Readonly<Record<string, unknown>>;
}

function tokenizerObject(vocabulary: Vocabulary, { normalizer = null, pre_tokenizer = null, decoder, model }: Parts) {
  return {
    ...{ version: "1.0", truncation: null, padding: null, added_tokens: addedTokens(vocabulary) },
    ...{ normalizer, pre_tokenizer, post_processor: null, decoder },
    model: {
      ...{ type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
      vocab: Object.fromEntries(vocabulary.idByToken),
      ...model,
    },
  };
}
