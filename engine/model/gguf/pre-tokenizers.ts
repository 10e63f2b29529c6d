import { unsupported } from "../config.ts";

/** How text is cut into words before byte-level merges, as tokenizer.json says it. */
interface PreTokenizer {
  readonly preTokenizer: unknown;
  /** A word that is a piece as a whole is taken without merging. */
  readonly ignoreMerges: boolean;
  /** Whether a BOS is put where the file does not say. */
  readonly addBos: boolean;
}

const LLAMA3 = pattern(
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
);
const QWEN2 = pattern(
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
);
const TEKKEN = pattern(
  String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
);
const GPT2 = byteLevel(true);
const DIGITS_THEN_GPT2 = sequence([{ type: "Digits", individual_digits: true }, GPT2]);

/** By "tokenizer.ggml.pre"; the names and what they stand for are llama.cpp's (llama-vocab.cpp). */
const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map([
  ["gpt-2", { preTokenizer: GPT2, ignoreMerges: false, addBos: false }],
  ["smollm", { preTokenizer: DIGITS_THEN_GPT2, ignoreMerges: false, addBos: false }],
  ["qwen2", { preTokenizer: QWEN2, ignoreMerges: false, addBos: false }],
  ["deepseek-r1-qwen", { preTokenizer: QWEN2, ignoreMerges: false, addBos: false }],
  ["llama-bpe", { preTokenizer: LLAMA3, ignoreMerges: true, addBos: true }],
  ["llama3", { preTokenizer: LLAMA3, ignoreMerges: true, addBos: true }],
  ["llama-v3", { preTokenizer: LLAMA3, ignoreMerges: true, addBos: true }],
  ["tekken", { preTokenizer: TEKKEN, ignoreMerges: true, addBos: true }],
]);

/** @throws ModelFileError unsupported for a name that is not known: guessing would give other ids than in training. */
export function findPreTokenizer(name: string, file: string): PreTokenizer {
  const found = PRE_TOKENIZERS.get(name);
  if (found !== undefined) return found;
  const known = [...PRE_TOKENIZERS.keys()].join(", ");
  throw unsupported(file, `tokenizer.ggml.pre ${JSON.stringify(name.slice(0, 100))}; supported: ${known}`);
}

function pattern(regex: string): unknown {
  const split = { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false };
  return sequence([split, byteLevel(false)]);
}

function byteLevel(useRegex: boolean): unknown {
  return { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: useRegex };
}

function sequence(pretokenizers: readonly unknown[]): unknown {
  return { type: "Sequence", pretokenizers };
}
