import { ModelFileError } from "../errors.ts";
import { asArray, asObject } from "./tokenizer-json.ts";

/** What turning ids back into text needs of a tokenizer. */
export interface TokenBytes {
  /** Exact bytes that one token stands for, often not whole UTF-8 characters; control tokens have none. */
  tokenBytes(id: number): Uint8Array;
  /** Spaces that SentencePiece put before a text and that decoding takes off again: 0 or 1 in practice. */
  readonly numLeadingSpaces: number;
}

/** tokenizer.json's decoder as a function of one piece. */
export interface PieceDecoder {
  readonly bytesOf: (piece: string) => Uint8Array;
  readonly numLeadingSpaces: number;
}

const utf8 = new TextEncoder();

/**
 * Reads tokenizer.json's `decoder`: ByteLevel, Metaspace, and sequences of Replace, ByteFallback, Fuse and Strip.
 * All of these work piece by piece, but for the leading space, which is counted.
 * @throws ModelFileError unsupported, malformed
 */
export function readPieceDecoder(decoder: unknown): PieceDecoder {
  const replacements: [from: string, to: string][] = [];
  let byteLevel = false;
  let byteFallback = false;
  let numLeadingSpaces = 0;

  const read = (value: unknown): void => {
    const step = asObject(value, "decoder");
    switch (step.type) {
      case "Sequence":
        asArray(step.decoders, "decoder.decoders").forEach(read);
        return;
      case "ByteLevel":
        byteLevel = true;
        return;
      case "ByteFallback":
        byteFallback = true;
        return;
      case "Fuse":
        return;
      case "Metaspace": {
        replacements.push([typeof step.replacement === "string" ? step.replacement : "▁", " "]);
        const prepends =
          step.prepend_scheme === undefined ? step.add_prefix_space !== false : step.prepend_scheme !== "never";
        if (prepends) numLeadingSpaces = 1;
        return;
      }
      case "Replace": {
        const from = asObject(step.pattern, "decoder.pattern").String;
        if (typeof from !== "string" || typeof step.content !== "string") break;
        replacements.push([from, step.content]);
        return;
      }
      case "Strip":
        // Only SentencePiece's own use: one space off the front of the whole text.
        if (step.content !== " " || typeof step.start !== "number" || step.stop !== 0) break;
        numLeadingSpaces = step.start;
        return;
    }
    throw new ModelFileError("unsupported", "tokenizer.json", `decoder ${JSON.stringify(step).slice(0, 200)}`);
  };
  if (decoder !== null && decoder !== undefined) read(decoder);

  const bytesOf = (piece: string): Uint8Array => {
    if (byteFallback) {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)?.[1];
      if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    }
    const text = replacements.reduce((current, [from, to]) => current.replaceAll(from, to), piece);
    return (byteLevel ? byteLevelBytes(text) : undefined) ?? utf8.encode(text);
  };
  return { bytesOf, numLeadingSpaces };
}

/** GPT-2's alphabet: printable bytes stand for themselves, the others for the characters from U+0100 on. */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = (() => {
  const map = new Map<string, number>();
  let numMoved = 0;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    map.set(String.fromCodePoint(printable ? byte : 256 + numMoved++), byte);
  }
  return map;
})();

/** Bytes of a byte-level piece; undefined where a character is outside the alphabet (a word added as it is). */
function byteLevelBytes(piece: string): Uint8Array | undefined {
  const bytes: number[] = [];
  for (const character of piece) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
