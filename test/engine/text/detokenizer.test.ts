import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Detokenizer } from "../../../engine/text/detokenizer.ts";
import { Tokenizer } from "../../../engine/text/tokenizer.ts";
import { SENTENCE_PIECE, saplingAssets } from "./assets.ts";

const sapling = new Tokenizer(saplingAssets());
const sentencePiece = new Tokenizer(SENTENCE_PIECE);
const emoji = fc.constantFrom("🌱", "é", "漢", "👩‍👩‍👧", "a", " ", "\u0301");

/** Every byte is a token of its own in both tokenizers, so a text can be cut at any byte. */
const ENCODERS = {
  "as encoded": (tokenizer: Tokenizer, text: string) => tokenizer.encode(text, { allowControl: false }),
  "byte by byte": (tokenizer: Tokenizer, text: string) => {
    const byteIds = new Map<string, number>();
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const bytes = tokenizer.tokenBytes(id);
      if (bytes.length === 1) byteIds.set(String(bytes[0]), id);
    }
    return [...new TextEncoder().encode(text)].map((byte) => {
      const id = byteIds.get(String(byte));
      if (id === undefined) throw new Error(`no token for byte ${byte}`);
      return id;
    });
  },
};

describe.each([
  ["byte-level", sapling],
  ["SentencePiece", sentencePiece],
])("%s", (_name, tokenizer) => {
  it.each(Object.entries(ENCODERS))("emits whole characters, and all of the text at the end, %s", (_how, encode) => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: emoji })), (wanted) => {
        const text = wanted.replaceAll("\uFFFD", "?").replaceAll("▁", "_").trimStart();
        const detokenizer = new Detokenizer(tokenizer);
        const deltas = encode(tokenizer, text).map((id) => detokenizer.push(id));
        for (const delta of deltas) {
          expect(delta).toBe(delta.toWellFormed());
          expect(delta).not.toContain("\uFFFD");
        }
        expect(deltas.join("")).toBe(text);
        expect(detokenizer.flush()).toBe("");
      }),
      { numRuns: 300 },
    );
  });

  it("equals decoding all at once, whatever the ids", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(tokenizer.vocabSize + 3)), (ids) => {
        const bytes = ids.flatMap((id) => [...tokenizer.tokenBytes(id)]);
        const strips = tokenizer.numLeadingSpaces > 0 && bytes[0] === 0x20;
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        expect(tokenizer.decode(ids)).toBe(decoder.decode(Uint8Array.from(strips ? bytes.slice(1) : bytes)));
      }),
      { numRuns: 300 },
    );
  });
});

it("ends a character that is never completed with U+FFFD", () => {
  const detokenizer = new Detokenizer(sapling);
  const [first = -1, ...rest] = ENCODERS["byte by byte"](sapling, "🌱");
  expect(rest).toHaveLength(3);
  expect(detokenizer.push(first)).toBe("");
  expect(detokenizer.flush()).toBe("\uFFFD");
});

it("takes SentencePiece's space off a text of its own, not off a continuation", () => {
  const hello = sentencePiece.idOf("▁hello") ?? -1;
  const own = new Detokenizer(sentencePiece);
  expect([own.push(hello), own.push(hello)]).toEqual(["hello", " hello"]);
  expect(new Detokenizer(sentencePiece, { continuation: true }).push(hello)).toBe(" hello");
});

it("gives no text for control tokens and unknown ids", () => {
  const detokenizer = new Detokenizer(sapling);
  expect([0, 1, 2, sapling.vocabSize, 1e9].map((id) => detokenizer.push(id)).join("")).toBe("");
});
