import { resolveModel } from "../../../engine/model/bundled.ts";
import { textAssetsFromFolder } from "../../../engine/model/text-assets.ts";
import type { TextAssets } from "../../../engine/model/types.ts";
import type { Tokenizer } from "../../../engine/text/tokenizer.ts";

/** Byte-level BPE, 4,096 ids: 0 `<|endoftext|>`, 1 `<|im_start|>`, 2 `<|im_end|>`. */
export function saplingAssets(): TextAssets {
  const assets = textAssetsFromFolder(resolveModel("sapling-2m-draft"));
  if (!assets) throw new Error("the bundled draft model has lost its tokenizer");
  return assets;
}

/** The same with more control tokens, ids from 4,096 on, and another template. */
export function withControls(spellings: readonly string[], chatTemplate: string): TextAssets {
  const assets = saplingAssets();
  const json = structuredClone(assets.tokenizerJson) as { added_tokens: unknown[] };
  for (const [i, content] of spellings.entries())
    json.added_tokens.push({ id: 4096 + i, content, special: true, lstrip: false, rstrip: false });
  return { ...assets, tokenizerJson: json, chatTemplate };
}

const BYTES = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
const PIECES = ["<unk>", "<s>", "</s>", ...BYTES, ..."▁abcdehlo", "▁a", "he", "ll", "hell", "hello", "▁hello"];

/**
 * A small tokenizer of Llama 2's kind: ▁ for spaces, one put before the text, bytes for what has no piece.
 * Ids: 0 `<unk>`, 1 `<s>` (BOS), 2 `</s>`, byte b has 3 + b.
 */
export const SENTENCE_PIECE: TextAssets = {
  tokenizerJson: {
    added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => ({ id, content, special: true })),
    normalizer: null,
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(PIECES.map((piece, id) => [piece, id])),
      merges: ["h e", "l l", "he ll", "hell o", "▁ hello", "▁ a"],
    },
  },
  bosTokenId: 1,
  addBos: true,
  endTokenIds: [2],
};

/** The text that ids were made from: control tokens spelled out, the runs between them decoded. */
export function spell(tokenizer: Tokenizer, ids: readonly number[]): string {
  let text = "";
  let run: number[] = [];
  const endRun = (): void => {
    text += tokenizer.decode(run);
    run = [];
  };
  for (const id of ids) {
    if (!tokenizer.isControl(id)) run.push(id);
    else {
      endRun();
      text += tokenizer.pieceOf(id);
    }
  }
  endRun();
  return text;
}
