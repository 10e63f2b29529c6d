import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ModelFileError } from "../../../engine/errors.ts";
import { Tokenizer } from "../../../engine/text/tokenizer.ts";
import { SENTENCE_PIECE, saplingAssets, spell, withControls } from "./assets.ts";

const sapling = new Tokenizer(saplingAssets());
const sentencePiece = new Tokenizer(SENTENCE_PIECE);
const words = ["hello", " ", "  ", "\n", "é", "漢字", "👩‍👩‍👧", "\uFEFF", "\0", "▁", "don't", "<0x41>", "Ġ", "12345"];
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme" }),
  fc.array(fc.constantFrom(...words)).map((list) => list.join("")),
);

/** SentencePiece writes spaces as ▁, and puts one before a text only where none is, so that it loses the first. */
function spaced(tokenizer: Tokenizer, text: string): string {
  return tokenizer === sentencePiece ? text.replaceAll("▁", " ").replace(/^ /, "") : text;
}

describe.each([
  ["byte-level", sapling],
  ["SentencePiece", sentencePiece],
])("%s", (_name, tokenizer) => {
  it("gives back every text", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(tokenizer.decode(tokenizer.encode(text, { allowControl: false }))).toBe(spaced(tokenizer, text));
      }),
      { numRuns: 500 },
    );
  });

  it("makes no control token of text that spells one", () => {
    const pieces = fc.constantFrom("<|", "im_start", "im_end", "endoftext", "|>", "<", "s", "/", ">", "unk", " ", "a");
    const spelled = fc.constantFrom(...tokenizer.controlSpellings);
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, spelled)), (list) => {
        const ids = tokenizer.encode(list.join(""), { allowControl: false });
        expect(ids.filter((id) => tokenizer.isControl(id))).toEqual([]);
        expect(tokenizer.decode(ids)).toBe(spaced(tokenizer, list.join("")));
      }),
      { numRuns: 500 },
    );
  });
});

describe("control tokens", () => {
  it("come of trusted text", () => {
    expect(sapling.encode("<|im_start|>user", { allowControl: true })).toEqual([
      1,
      ...sapling.encode("user", { allowControl: false }),
    ]);
  });

  it("come of trusted parts only, never across the border to another part", () => {
    const part = (text: string, trusted: boolean) => ({ text, trusted });
    expect(sapling.encodeParts([part("<|im_end|>", true), part("<|im_end|>", false)]).filter((id) => id <= 2)).toEqual([
      2,
    ]);
    const cut = [part("<|im_", true), part("end|>", false), part("<|im_", false), part("end|>", true)];
    expect(sapling.encodeParts(cut).filter((id) => id <= 2)).toEqual([]);
  });

  it("leave merges across the border between parts alone", () => {
    const whole = "<|im_start|>user\n\n  Tell me<|im_end|>\n";
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length)), (cuts) => {
        const ends = [...cuts, whole.length].sort((a, b) => a - b);
        const parts = ends.map((end, i) => ({ text: whole.slice(ends[i - 1] ?? 0, end), trusted: false }));
        expect(sapling.encodeParts(parts)).toEqual(sapling.encode(whole, { allowControl: false }));
      }),
    );
  });

  it("are found leftmost and longest", () => {
    const tokenizer = new Tokenizer(withControls(["<a>", "<a><b>", "b><a"], ""));
    expect(tokenizer.encode("<a><b><a>", { allowControl: true })).toEqual([4097, 4096]);
  });

  it("take the white space beside them that lstrip and rstrip name", () => {
    const assets = saplingAssets();
    const json = structuredClone(assets.tokenizerJson) as { added_tokens: object[] };
    json.added_tokens.push({ id: 4096, content: "<mask>", special: true, lstrip: true, rstrip: true });
    const tokenizer = new Tokenizer({ ...assets, tokenizerJson: json });
    expect(spell(tokenizer, tokenizer.encode("a \n<mask> b", { allowControl: true }))).toBe("a<mask>b");
  });
});

describe("BOS", () => {
  it("is put where the model's files ask for it and the caller does", () => {
    const ids = sentencePiece.encode("hello", { allowControl: false });
    expect(ids).not.toContain(1);
    expect(sentencePiece.encode("hello", { allowControl: false, addBos: true })).toEqual([1, ...ids]);
    const without = new Tokenizer({ ...SENTENCE_PIECE, addBos: false });
    expect(without.encode("hello", { allowControl: false, addBos: true })).toEqual(ids);
  });
});

it("puts SentencePiece's space before the first run only", () => {
  const hello = sentencePiece.idOf("▁hello");
  expect(sentencePiece.encode("hello", { allowControl: false })).toEqual([hello]);
  expect(sentencePiece.encode("</s>hello", { allowControl: true })).toEqual([2, sentencePiece.idOf("hello")]);
});

it("reads lone surrogates as U+FFFD", () => {
  const ids = sapling.encode("a\uD800b", { allowControl: false });
  expect(ids).toEqual(sapling.encode("a\uFFFDb", { allowControl: false }));
});

describe("files that are not supported or damaged", () => {
  const json = SENTENCE_PIECE.tokenizerJson as { model: object };
  it.each([
    ["no object", [], "malformed"],
    ["no model", {}, "malformed"],
    ["a WordPiece model", { ...json, model: { type: "WordPiece", vocab: {} } }, "unsupported"],
    ["an id far out of range", { ...json, model: { ...json.model, vocab: { a: 2 ** 40 } } }, "malformed"],
    ["a negative id", { ...json, model: { ...json.model, vocab: { a: -1 } } }, "malformed"],
    ["merges of one piece", { ...json, model: { ...json.model, merges: ["ab"] } }, "malformed"],
    ["an empty added token", { ...json, added_tokens: [{ id: 0, content: "" }] }, "malformed"],
    ["a decoder of another kind", { ...json, decoder: { type: "WordPiece" } }, "unsupported"],
  ])("refuses %s", (_what, tokenizerJson, code) => {
    const open = () => new Tokenizer({ ...SENTENCE_PIECE, tokenizerJson });
    expect(open).toThrow(ModelFileError);
    expect(open).toThrow(expect.objectContaining({ code }));
  });
});
