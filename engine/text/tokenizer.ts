import { Tokenizer as Library } from "@huggingface/tokenizers";
import { ModelFileError } from "../errors.ts";
import type { TextAssets } from "../model/types.ts";
import { ControlTokens, type PromptPart } from "./control-tokens.ts";
import { Detokenizer } from "./detokenizer.ts";
import { type PieceDecoder, readPieceDecoder, type TokenBytes } from "./token-bytes.ts";
import { type JsonObject, readTokenizerJson, withoutControlTokens } from "./tokenizer-json.ts";
import { toWellFormed } from "./well-formed.ts";

export interface EncodeOptions {
  /** Spellings of control tokens in the text become those tokens; otherwise they are plain text like any other. */
  readonly allowControl: boolean;
  /** Put a BOS in front if the model's files ask for one. */
  readonly addBos?: boolean;
}

const NO_BYTES = new Uint8Array(0);

/**
 * Text to ids and back, over @huggingface/tokenizers.
 *
 * The library cannot leave control tokens in a text alone, so it is given a tokenizer that has none, and this class
 * finds them where they are allowed. A control token is an added token that is marked special, or that begins or ends
 * a text. Words that are added but not special (`<think>`) are part of the language: users may write them.
 */
export class Tokenizer implements TokenBytes {
  /** One more than the highest id. */
  readonly vocabSize: number;
  readonly numLeadingSpaces: number;
  /** Every control token's spelling. */
  readonly controlSpellings: readonly string[];
  readonly #pieces: readonly (string | undefined)[];
  readonly #idByPiece = new Map<string, number>();
  readonly #addedIds: ReadonlySet<number>;
  readonly #controlIds: ReadonlySet<number>;
  readonly #controls: ControlTokens;
  readonly #unkId: number | undefined;
  readonly #bosId: number | undefined;
  readonly #decoder: PieceDecoder;
  readonly #bytes: (Uint8Array | undefined)[] = [];
  /** Encodes a run at the very start of a prompt, and one that comes later. */
  readonly #first: Library;
  readonly #later: Library;

  /** @throws ModelFileError when tokenizer.json is malformed or of a kind that is not supported. */
  constructor(assets: TextAssets) {
    const spec = readTokenizerJson(assets.tokenizerJson);
    const ends = new Set([assets.bosTokenId, ...assets.endTokenIds]);
    const controls = spec.added.filter((token) => token.special || ends.has(token.id));
    this.#pieces = spec.pieces;
    this.#pieces.forEach((piece, id) => {
      if (piece !== undefined) this.#idByPiece.set(piece, id);
    });
    this.vocabSize = spec.pieces.length;
    this.#addedIds = new Set(spec.added.map(({ id }) => id));
    this.#controlIds = new Set(controls.map(({ id }) => id));
    this.#controls = new ControlTokens(controls);
    this.controlSpellings = this.#controls.spellings;
    this.#unkId = spec.unkId;
    this.#bosId = assets.addBos ? assets.bosTokenId : undefined;
    this.#decoder = readPieceDecoder(spec.json.decoder);
    this.numLeadingSpaces = this.#decoder.numLeadingSpaces;
    [this.#first, this.#later] = makeLibrary(withoutControlTokens(spec, this.#controlIds));
  }

  /** Lone surrogates in the text become U+FFFD. */
  encode(text: string, options: EncodeOptions): number[] {
    const ids = this.encodeParts([{ text, trusted: options.allowControl }]);
    return options.addBos === true && this.#bosId !== undefined ? [this.#bosId, ...ids] : ids;
  }

  /** Ids of a prompt whose control tokens may stand in trusted parts only; equal to encoding the whole text otherwise. */
  encodeParts(parts: readonly PromptPart[]): number[] {
    const ids: number[] = [];
    const items = this.#controls.split(parts);
    items.forEach((item, i) => {
      if (typeof item !== "string") {
        ids.push(item.id);
        return;
      }
      const before = items[i - 1];
      const after = items[i + 1];
      let run = item;
      if (typeof before === "object" && before.rstrip) run = run.trimStart();
      if (typeof after === "object" && after.lstrip) run = run.trimEnd();
      for (const id of this.#encodeRun(run, i === 0)) ids.push(id);
    });
    return ids;
  }

  /** Text of a list of ids. Control tokens have none; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: readonly number[]): string {
    const detokenizer = new Detokenizer(this);
    return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
  }

  tokenBytes(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known) return known;
    const piece = this.#pieces[id];
    if (piece === undefined || this.isControl(id)) return NO_BYTES;
    const bytes = this.#addedIds.has(id) ? new TextEncoder().encode(piece) : this.#decoder.bytesOf(piece);
    this.#bytes[id] = bytes;
    return bytes;
  }

  isControl(id: number): boolean {
    return this.#controlIds.has(id);
  }

  /** Id of a piece as tokenizer.json writes it ("<|im_end|>", "Ġthe"). */
  idOf(piece: string): number | undefined {
    return this.#idByPiece.get(piece);
  }

  /** Piece of an id as tokenizer.json writes it. */
  pieceOf(id: number): string | undefined {
    return this.#pieces[id];
  }

  #encodeRun(run: string, isFirst: boolean): number[] {
    if (run === "") return [];
    const { ids } = (isFirst ? this.#first : this.#later).encode(toWellFormed(run), { add_special_tokens: false });
    for (const id of ids) {
      if (id === undefined || (this.#controlIds.has(id) && id !== this.#unkId))
        throw new Error(`invariant: plain text was encoded as ${id}, which is not a token of text`);
    }
    return ids;
  }
}

/**
 * Two views of one tokenizer: SentencePiece's "first" scheme puts a space before a text that starts the prompt, not
 * before one that follows a control token, and the library sees each run as a prompt of its own.
 */
function makeLibrary(json: JsonObject): [first: Library, later: Library] {
  try {
    const first = new Library(json, {});
    const laterPreTokenizer = neverPrepend(json.pre_tokenizer);
    if (JSON.stringify(laterPreTokenizer) === JSON.stringify(json.pre_tokenizer)) return [first, first];
    const emptyModel = { type: "BPE", vocab: {}, merges: [] };
    const later = new Library({ ...json, pre_tokenizer: laterPreTokenizer, model: emptyModel }, {});
    later.model = first.model;
    return [first, later];
  } catch (cause) {
    throw new ModelFileError("unsupported", "tokenizer.json", cause instanceof Error ? cause.message : String(cause));
  }
}

function neverPrepend(preTokenizer: unknown): unknown {
  if (typeof preTokenizer !== "object" || preTokenizer === null) return preTokenizer;
  const config = preTokenizer as JsonObject;
  if (Array.isArray(config.pretokenizers))
    return { ...config, pretokenizers: config.pretokenizers.map((inner) => neverPrepend(inner)) };
  return config.prepend_scheme === "first" ? { ...config, prepend_scheme: "never" } : config;
}
