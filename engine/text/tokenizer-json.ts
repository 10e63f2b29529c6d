import { ModelFileError } from "../errors.ts";

/** A JSON object whose fields are checked where they are read. */
export type JsonObject = { readonly [key: string]: unknown };

/** A token that is matched as a whole in text, before any merge: control tokens and words added to the vocabulary. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Marked as special by the tokenizer's author. */
  readonly special: boolean;
  /** Swallows the white space before it, after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** A tokenizer.json of a kind that is supported. */
export interface TokenizerSpec {
  readonly json: JsonObject;
  readonly model: JsonObject;
  /** Piece by id `[vocabSize]`, added tokens included; ids that no piece has are undefined. */
  readonly pieces: readonly (string | undefined)[];
  readonly added: readonly AddedToken[];
  /** Id given to text that the model has no piece for. */
  readonly unkId: number | undefined;
}

/** No tokenizer has more ids; keeps a forged id from growing an array without end. */
const MAX_VOCAB_SIZE = 1 << 22;
const FILE = "tokenizer.json";

/**
 * Checks the parts of tokenizer.json that Canopy reads itself.
 * @throws ModelFileError malformed, or unsupported (models other than BPE and Unigram).
 */
export function readTokenizerJson(value: unknown): TokenizerSpec {
  const json = asObject(value, "the file");
  const model = asObject(json.model, "model");
  const pieces: (string | undefined)[] = [];
  for (const [piece, id] of vocabEntries(model)) pieces[checkId(id, "model.vocab")] = piece;
  const added = asArray(json.added_tokens ?? [], "added_tokens").map(readAddedToken);
  for (const { id, content } of added) pieces[id] = content;
  return { json, model, pieces, added, unkId: readUnkId(model, pieces) };
}

/**
 * The same tokenizer, made unable to produce a control id from text: control tokens are no longer matched whole, their
 * pieces get names that well-formed text cannot spell, and merges that would build them are dropped.
 * @throws ModelFileError malformed
 */
export function withoutControlTokens(spec: TokenizerSpec, control: ReadonlySet<number>): JsonObject {
  return {
    normalizer: null,
    pre_tokenizer: null,
    ...spec.json,
    // Ids become text in token-bytes.ts and BOS is put by Tokenizer, so the library's own ways are switched off.
    decoder: null,
    post_processor: null,
    added_tokens: asArray(spec.json.added_tokens ?? [], "added_tokens").filter(
      (token) => !control.has(readAddedToken(token).id),
    ),
    model: spec.model.type === "BPE" ? bpeWithout(spec, control) : unigramWithout(spec.model, control),
  };
}

/** A lone surrogate never occurs in well-formed text, so no text spells this piece. */
const unspeakable = (id: number): string => `\uD800${id}`;

function bpeWithout(spec: TokenizerSpec, control: ReadonlySet<number>): JsonObject {
  const entries = vocabEntries(spec.model).filter(([, id]) => !control.has(id));
  for (const id of control) entries.push([unspeakable(id), id]);
  const spellings = new Set([...control].map((id) => spec.pieces[id]));
  const merges = asArray(spec.model.merges, "model.merges").map((merge) => {
    const pair = typeof merge === "string" ? merge.split(" ", 2) : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || pair.some((half) => typeof half !== "string"))
      throw new ModelFileError("malformed", FILE, `model.merges holds ${JSON.stringify(merge)}, not a pair of pieces`);
    return pair;
  });
  return {
    ...spec.model,
    vocab: Object.fromEntries(entries),
    merges: merges.filter((pair) => !spellings.has(pair.join(""))),
    unk_token:
      spec.unkId !== undefined && control.has(spec.unkId) ? unspeakable(spec.unkId) : (spec.model.unk_token ?? null),
  };
}

function unigramWithout(model: JsonObject, control: ReadonlySet<number>): JsonObject {
  const vocab = asArray(model.vocab, "model.vocab").map((entry, id) =>
    control.has(id) && Array.isArray(entry) ? [unspeakable(id), entry[1]] : entry,
  );
  return { ...model, vocab };
}

function vocabEntries(model: JsonObject): [piece: string, id: number][] {
  if (model.type === "BPE")
    return Object.entries(asObject(model.vocab, "model.vocab")).map(([piece, id]) => [
      piece,
      checkId(id, `model.vocab[${JSON.stringify(piece)}]`),
    ]);
  if (model.type !== "Unigram")
    throw new ModelFileError("unsupported", FILE, `model.type is ${JSON.stringify(model.type)}, not BPE or Unigram`);
  // The library's Unigram gives <unk> for what byte fallback should spell: better no model than lost text.
  if (model.byte_fallback === true)
    throw new ModelFileError("unsupported", FILE, "model.byte_fallback with a Unigram model");
  return asArray(model.vocab, "model.vocab").map((entry, id) => {
    if (!Array.isArray(entry) || typeof entry[0] !== "string" || typeof entry[1] !== "number")
      throw new ModelFileError("malformed", FILE, `model.vocab[${id}] is not a pair of piece and score`);
    return [entry[0], id];
  });
}

function readAddedToken(value: unknown): AddedToken {
  const token = asObject(value, "added_tokens[]");
  if (typeof token.content !== "string" || token.content === "")
    throw new ModelFileError("malformed", FILE, "added_tokens[].content is not a string with characters");
  return {
    id: checkId(token.id, `id of added token ${JSON.stringify(token.content)}`),
    content: token.content,
    special: token.special === true,
    lstrip: token.lstrip === true,
    rstrip: token.rstrip === true,
  };
}

function readUnkId(model: JsonObject, pieces: readonly (string | undefined)[]): number | undefined {
  if (typeof model.unk_id === "number") return checkId(model.unk_id, "model.unk_id");
  const id = typeof model.unk_token === "string" ? pieces.indexOf(model.unk_token) : -1;
  return id < 0 ? undefined : id;
}

function checkId(id: unknown, field: string): number {
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= MAX_VOCAB_SIZE)
    throw new ModelFileError("malformed", FILE, `${field}: ${String(id)} is not an id below ${MAX_VOCAB_SIZE}`);
  return id;
}

export function asObject(value: unknown, field: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new ModelFileError("malformed", FILE, `${field} is not an object`);
  return value as JsonObject;
}

export function asArray(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ModelFileError("malformed", FILE, `${field} is not an array`);
  return value;
}
