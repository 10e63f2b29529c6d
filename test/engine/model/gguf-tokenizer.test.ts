import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { Metadata, type MetadataValue } from "../../../engine/model/gguf/metadata.ts";
import { textAssetsFromGguf } from "../../../engine/model/gguf/text-assets.ts";
import { readJson } from "../../../engine/model/json.ts";
import { openModel } from "../../../engine/model/open.ts";
import { Tokenizer } from "../../../engine/text/tokenizer.ts";
import { Random } from "../../support/random.ts";

const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE] = [1, 2, 3, 4, 6];

function failure(code: string, message: RegExp) {
  return expect.objectContaining({ name: "ModelFileError", code, message: expect.stringMatching(message) });
}

function assets(values: Readonly<Record<string, MetadataValue>>, vocabSize = 1 << 20) {
  const keys = Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value] as const);
  return textAssetsFromGguf(new Metadata("test.gguf", new Map(keys)), vocabSize);
}

function tokenizer(values: Readonly<Record<string, MetadataValue>>): Tokenizer {
  const text = assets(values);
  if (text === undefined) throw new Error("no tokenizer");
  return new Tokenizer(text);
}

const byteLevel = (pre: string, words: readonly string[], merges: readonly string[] = []) => ({
  ...{ model: "gpt2", pre, tokens: [..."0123456789abIL'", "Ġ", "Ċ", ...words], merges },
});

test("the object made from sapling's metadata is the tokenizer.json it came from, and encodes as it does", () => {
  const made = openModel(resolveModel("sapling-14m"));
  made.weights.close();
  const json = readJson(join(resolveModel("sapling-2m-draft"), "tokenizer.json"));
  expect(made.text?.tokenizerJson).toEqual(json);
  if (made.text === undefined) throw new Error("no tokenizer");
  const [a, b] = [new Tokenizer(made.text), new Tokenizer({ ...made.text, tokenizerJson: json })];
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 60 }), (text) => {
      const ids = a.encode(text, { allowControl: false });
      expect(ids).toEqual(b.encode(text, { allowControl: false }));
      expect(a.decode(ids)).toBe(text);
    }),
    { numRuns: 200, seed: 1 },
  );
});

describe("byte-level words are cut as the file's pre-tokenizer says", () => {
  const pieces = (values: Readonly<Record<string, MetadataValue>>, text: string) => {
    const made = tokenizer(values);
    return made.encode(text, { allowControl: false }).map((id) => made.pieceOf(id));
  };
  const digits = ["12", "123", "1234"];
  const merges = ["1 2", "12 3", "123 4"];

  test.each([
    ["gpt-2", ["1234"]],
    ["smollm", ["1", "2", "3", "4"]],
    ["qwen2", ["1", "2", "3", "4"]],
    ["deepseek-r1-qwen", ["1", "2", "3", "4"]],
    ["tekken", ["1", "2", "3", "4"]],
    ["llama-bpe", ["123", "4"]],
    ["llama3", ["123", "4"]],
    ["llama-v3", ["123", "4"]],
  ])("%s cuts digits into %j", (pre, expected) => {
    expect(pieces(byteLevel(pre, digits, merges), "1234")).toEqual(expected);
  });

  test.each([
    ["gpt-2", ["I", "'", "L", "L"]],
    ["qwen2", ["I", "'LL"]],
    ["llama-bpe", ["I", "'LL"]],
  ])("%s keeps a contraction in capitals together or not: %j", (pre, expected) => {
    // The merge cannot cross a cut, and gpt-2 cuts after the apostrophe; "LL" alone is no piece.
    expect(pieces(byteLevel(pre, ["'L", "'LL"], ["' L", "'L L"]), "I'LL")).toEqual(expected);
  });

  test("Llama 3 takes a word that is a piece without merging it, gpt-2 does not", () => {
    expect(pieces(byteLevel("llama-bpe", ["ab"]), "ab")).toEqual(["ab"]);
    expect(pieces(byteLevel("gpt-2", ["ab"]), "ab")).toEqual(["a", "b"]);
  });

  test("line breaks after a sign belong to it, but for gpt-2", () => {
    const values = (pre: string) => byteLevel(pre, ["'Ċ"], ["' Ċ"]);
    expect(pieces(values("llama-bpe"), "'\n")).toEqual(["'Ċ"]);
    expect(pieces(values("gpt-2"), "'\n")).toEqual(["'", "Ċ"]);
  });
});

describe("SentencePiece", () => {
  const BYTES = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const ALPHABET = ["a", "b", "c", "▁"];

  /** A vocabulary of random pieces with random scores, each score used once. */
  function vocabulary(random: Random) {
    const words = new Set(
      Array.from({ length: 30 }, () => Array.from({ length: random.int(2, 5) }, () => random.pick(ALPHABET)).join("")),
    );
    const normal = [...ALPHABET, ...words];
    const ranks = random.shuffle(normal.map((_, i) => -i - 1));
    const tokens = ["<unk>", "<s>", "</s>", ...BYTES, ...normal];
    return {
      ...{ model: "llama", tokens, scores: [...Array(3 + 256).fill(0), ...ranks] },
      token_type: [UNKNOWN, CONTROL, CONTROL, ...BYTES.map(() => BYTE), ...normal.map(() => NORMAL)],
    };
  }

  /** llama.cpp's llm_tokenizer_spm as plain loops: join the neighbours of the highest score, the leftmost first. */
  function plainEncode({ tokens, scores, token_type: types }: ReturnType<typeof vocabulary>, text: string): number[] {
    const normalId = (piece: string) => {
      const id = tokens.indexOf(piece);
      return types[id] === NORMAL ? id : -1;
    };
    const symbols = [...`▁${text.replaceAll(" ", "▁")}`];
    for (;;) {
      let best = -1;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const id = normalId(`${symbols[i]}${symbols[i + 1]}`);
        const score = id < 0 ? Number.NEGATIVE_INFINITY : (scores[id] ?? 0);
        if (score > bestScore) [best, bestScore] = [i, score];
      }
      if (best < 0) break;
      symbols.splice(best, 2, `${symbols[best]}${symbols[best + 1]}`);
    }
    return symbols.flatMap((symbol) => {
      const id = normalId(symbol);
      return id >= 0 ? [id] : [...Buffer.from(symbol)].map((byte) => 3 + byte);
    });
  }

  test("ids are those of the plain algorithm, bytes of unknown characters included, and give the text back", () => {
    const letters = fc.constantFrom("a", "b", "c", " ", "é", "🌱");
    fc.assert(
      fc.property(fc.nat(), fc.array(letters, { minLength: 1, maxLength: 24 }), (seed, characters) => {
        const values = vocabulary(new Random(seed));
        const made = tokenizer(values);
        const text = characters.join("");
        const ids = made.encode(text, { allowControl: false });
        expect(ids).toEqual(plainEncode(values, text));
        expect(made.decode(ids)).toBe(text);
      }),
      { numRuns: 150, seed: 2 },
    );
  });

  test("without a space prefix, text starts as it is", () => {
    const made = tokenizer({ ...vocabulary(new Random(1)), add_space_prefix: false });
    const ids = made.encode("a", { allowControl: false });
    expect(ids.map((id) => made.pieceOf(id))).toEqual(["a"]);
    expect(made.decode(ids)).toBe("a");
  });

  test("BOS 1 and end 2 where the file does not say, and a BOS is put", () => {
    expect(assets(vocabulary(new Random(1)))).toMatchObject({ bosTokenId: 1, addBos: true, endTokenIds: [2] });
    const told = { ...vocabulary(new Random(1)), bos_token_id: 2, eos_token_id: 1, add_bos_token: false };
    expect(assets(told)).toMatchObject({ bosTokenId: 2, addBos: false, endTokenIds: [1, 2] });
  });
});

describe("control tokens", () => {
  const tokens = ["<|endoftext|>", "<|im_end|>", "<think>", "a", "<|eot_id|>", "<|end|>"];
  const base = {
    ...{ model: "gpt2", pre: "llama-bpe", tokens, merges: [] },
    token_type: [CONTROL, CONTROL, USER_DEFINED, NORMAL, CONTROL, NORMAL],
  };

  test("special are the control tokens, added are also the author's own words", () => {
    const added = [
      [0, "<|endoftext|>", true],
      [1, "<|im_end|>", true],
      [2, "<think>", false],
      [4, "<|eot_id|>", true],
    ].map(([id, content, special]) => expect.objectContaining({ id, content, special }));
    expect(assets(base)?.tokenizerJson).toMatchObject({ added_tokens: added });
  });

  test("every end counts: eos, eot, eom, and control tokens that always end; a word spelled alike does not", () => {
    const ends = { ...base, eos_token_id: 3, eot_token_id: 4, eom_token_id: 3 };
    expect(assets(ends)?.endTokenIds).toEqual([3, 4, 0, 1]);
  });

  test("a BOS is put where the pre-tokenizer's models have one, unless the file says otherwise or names none", () => {
    expect(assets({ ...base, bos_token_id: 0 })?.addBos).toBe(true);
    expect(assets({ ...base, bos_token_id: 0, add_bos_token: false })?.addBos).toBe(false);
    expect(assets({ ...base, bos_token_id: 0, pre: "tekken" })?.addBos).toBe(true);
    expect(assets({ ...base, bos_token_id: 0, pre: "gpt-2" })?.addBos).toBe(false);
    expect(assets({ ...base, bos_token_id: 0, pre: "gpt-2", add_bos_token: true })?.addBos).toBe(true);
    expect(assets({ ...base, add_bos_token: true })).toMatchObject({ addBos: false });
    expect(assets(base)).not.toHaveProperty("bosTokenId");
  });

  test("no tokenizer, no text", () => {
    expect(assets({})).toBeUndefined();
    expect(assets({ model: "none" })).toBeUndefined();
  });

  test.each([
    ["another kind", { model: "bert" }, "unsupported", /tokenizer.ggml.model "bert"; supported: gpt2, llama/],
    ["unknown words' cut", { pre: "chameleon" }, "unsupported", /tokenizer.ggml.pre "chameleon"; supported: gpt-2/],
    ["a piece given twice", { tokens: [...tokens.slice(0, 5), "a"] }, "malformed", /"a" is token 3 and token 5/],
    ["too few types", { token_type: [1] }, "malformed", /token_type": 1 types for 6 tokens/],
    ["types of text", { token_type: ["1"] }, "malformed", /token_type" is not an array of numbers/],
    ["a merge of one", { merges: ["ab"] }, "malformed", /merges": "ab" is not a pair/],
    ["too few scores", { model: "llama", scores: [0] }, "malformed", /scores": 1 scores for 6 tokens/],
    ["an id beyond the tokens", { eos_token_id: 6 }, "malformed", /eos_token_id": 6 of 6 tokens/],
    ["a space before byte-level text", { add_space_prefix: true }, "unsupported", /add_space_prefix/],
  ])("%s is refused", (_what, changes, code, message) => {
    expect(() => assets({ ...base, ...changes })).toThrow(failure(code, message));
  });

  test("more tokens than the embedding has rows are refused", () => {
    expect(() => assets(base, 5)).toThrow(failure("malformed", /6 tokens, but the embedding has 5 rows/));
    expect(assets(base, 6)).toBeDefined();
  });
});
