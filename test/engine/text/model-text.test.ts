import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { bundledModelsDir, resolveModel } from "../../../engine/model/bundled.ts";
import { openModel } from "../../../engine/model/open.ts";
import { ModelText } from "../../../engine/text/model-text.ts";
import { SENTENCE_PIECE, saplingAssets } from "./assets.ts";

interface Reference {
  readonly prompts: readonly {
    readonly prompt: string;
    readonly promptTokens: readonly number[];
    readonly greedyTokens: readonly number[];
    readonly text: string;
  }[];
}
const { prompts }: Reference = JSON.parse(readFileSync(join(bundledModelsDir(), "reference.json"), "utf8"));

function textOf(name: string): ModelText {
  const { text, weights } = openModel(resolveModel(name));
  weights.close();
  if (!text) throw new Error(`${name} has no tokenizer`);
  return new ModelText(text);
}

describe.each(["sapling-14m", "sapling-2m-draft"])("the text of %s", (name) => {
  const text = textOf(name);

  it("gives the reference's ids for all 16 prompts", () => {
    expect(prompts).toHaveLength(16);
    for (const { prompt, promptTokens } of prompts)
      expect(text.encodeChat([{ role: "user", content: prompt }])).toEqual(promptTokens);
  });

  it("gives the reference's text for its ids, one by one and all at once", () => {
    for (const { greedyTokens, text: expected } of prompts) {
      const output = text.createOutput([]);
      const oneByOne = greedyTokens.map((id) => output.push([id], 0).text).join("") + output.flush().text;
      expect(oneByOne).toBe(expected);
      expect(text.createOutput([]).push(greedyTokens, 0).text).toBe(expected.replace(/\uFFFD+$/, ""));
    }
  });

  it("knows its vocabulary and its end tokens", () => {
    expect(text.vocabSize).toBe(4096);
    expect([...text.endTokenIds].sort()).toEqual([0, 2]);
  });
});

describe("a plain prompt", () => {
  it("gets a BOS where the model wants one, once, whatever it spells", () => {
    expect(new ModelText(SENTENCE_PIECE).encodePrompt("hello").filter((id) => id === 1)).toHaveLength(1);
    expect(new ModelText(SENTENCE_PIECE).encodePrompt("<s>hello").filter((id) => id <= 2)).toEqual([1]);
    expect(new ModelText(SENTENCE_PIECE).encodePrompt("")).toEqual([1]);
    expect(new ModelText({ ...SENTENCE_PIECE, addBos: false }).encodePrompt("hello")).not.toContain(1);
    expect(new ModelText(saplingAssets()).encodePrompt("")).toEqual([]);
  });

  it("gets none in a conversation: that is the template's to write", () => {
    const chat = (chatTemplate: string) =>
      new ModelText({ ...SENTENCE_PIECE, chatTemplate }).encodeChat([{ role: "user", content: "<s>" }]);
    expect(chat("{{ messages[0].content }}")).not.toContain(1);
    expect(chat("{{ bos_token }}{{ messages[0].content }}").filter((id) => id === 1)).toHaveLength(1);
  });

  it("goes on with the space of the first token, where the caller says so", () => {
    const text = new ModelText(SENTENCE_PIECE);
    const [, hello = -1] = text.encodePrompt("hello");
    expect(text.createOutput([]).push([hello], 0).text).toBe("hello");
    expect(text.createOutput([], { continuation: true }).push([hello], 0).text).toBe(" hello");
  });
});

it("shows single tokens to people", () => {
  const text = new ModelText(SENTENCE_PIECE);
  const [, hello = -1] = text.encodePrompt("hello");
  expect(text.decodeToken(hello)).toBe(" hello");
  expect(text.decodeToken(1)).toBe("<s>");
  expect(text.decodeToken(3 + 0xf0)).toBe("\uFFFD");
  expect(text.decodeToken(1_000_000)).toBe("");
});

it("stops inside an accepted run", () => {
  const text = new ModelText(saplingAssets());
  const ids = text.encodePrompt("Once upon a time there was a tree.");
  const output = text.createOutput(["a time t"]);
  const first = output.push(ids.slice(0, 2), 1);
  const second = output.push(ids.slice(2), ids.length - 3);
  expect(first.text + second.text).toBe("Once upon ");
  expect(second).toMatchObject({ stopped: true });
  expect(text.createOutput([]).push(ids.slice(0, first.numTokens + second.numTokens), 0).text).toMatch(/a time t\w*$/);
  expect(second.pieces.every(({ accepted }) => accepted)).toBe(true);
});
