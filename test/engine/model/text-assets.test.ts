import { describe, expect, test } from "vitest";
import { textAssetsFromFolder } from "../../../engine/model/text-assets.ts";
import { temporaryFolders } from "./temporary.ts";
import { HF_TOKENIZER } from "./tiny-model.ts";

const folderOf = temporaryFolders();
type Files = Readonly<Record<string, string | object>>;
const assets = (files: Files) => textAssetsFromFolder(folderOf({ "tokenizer.json": HF_TOKENIZER, ...files }));

function failure(code: string, message: RegExp) {
  return expect.objectContaining({ name: "ModelFileError", code, message: expect.stringMatching(message) });
}

test("a folder without tokenizer.json has no text", () => {
  expect(textAssetsFromFolder(folderOf({ "tokenizer_config.json": {} }))).toBeUndefined();
});

test("a tokenizer alone has neither BOS nor ends nor a template", () => {
  expect(assets({})).toEqual({ tokenizerJson: HF_TOKENIZER, addBos: false, endTokenIds: [] });
});

test("ends are those of generation_config, config and tokenizer_config together, each once", () => {
  const files = {
    "generation_config.json": { eos_token_id: [2, 3], bos_token_id: 1 },
    "config.json": { eos_token_id: 7, bos_token_id: 5 },
    "tokenizer_config.json": { eos_token: "<|im_end|>" },
  };
  expect(assets(files)).toMatchObject({ endTokenIds: [2, 3, 7], bosTokenId: 1 });
  expect(assets({ "config.json": { eos_token_id: 0 } })).toMatchObject({ endTokenIds: [0] });
});

test("a token is named by its spelling or by a record, and found among added tokens or pieces", () => {
  const named = (bos_token: unknown) => assets({ "tokenizer_config.json": { bos_token } })?.bosTokenId;
  expect(named("<s>")).toBe(0);
  expect(named({ content: "<|im_end|>", lstrip: false })).toBe(3);
  expect(named("b")).toBe(2);
  expect(named("constructor")).toBeUndefined();
  expect(named(null)).toBeUndefined();
});

describe("BOS before a text", () => {
  const template = (id: string) => ({
    ...{ type: "TemplateProcessing", single: [{ SpecialToken: { id, type_id: 0 } }, { Sequence: { id: "A" } }] },
  });
  const puts = (config: object, post_processor: unknown = null) =>
    assets({ "tokenizer.json": { ...HF_TOKENIZER, post_processor }, "tokenizer_config.json": config })?.addBos;

  test.each([
    ["the config says so", { bos_token: "<s>", add_bos_token: true }, null, true],
    ["the config says no, whatever the post-processor does", { bos_token: "<s>", add_bos_token: false }, "<s>", false],
    ["the post-processor starts with it", { bos_token: "<s>" }, "<s>", true],
    ["the post-processor starts with another token", { bos_token: "<s>" }, "<|im_end|>", false],
    ["Llama's tokenizer class", { bos_token: "<s>", tokenizer_class: "LlamaTokenizer" }, null, true],
    ["another class", { bos_token: "<s>", tokenizer_class: "PreTrainedTokenizerFast" }, null, false],
    ["there is no such token", { add_bos_token: true }, null, false],
  ])("%s", (_what, config, first, expected) => {
    expect(puts(config, first === null ? null : template(first))).toBe(expected);
  });

  test("a post-processor in a sequence counts too", () => {
    const processors = [{ type: "ByteLevel" }, template("<s>")];
    expect(puts({ bos_token: "<s>" }, { type: "Sequence", processors })).toBe(true);
    expect(puts({ bos_token: "<s>" }, { type: "ByteLevel" })).toBe(false);
  });
});

test("the template is a file of its own, the field, or the field's default", () => {
  const field = { "tokenizer_config.json": { chat_template: "field" } };
  expect(assets(field)?.chatTemplate).toBe("field");
  expect(assets({ ...field, "chat_template.jinja": "file" })?.chatTemplate).toBe("file");
  const named = (...names: string[]) => ({
    "tokenizer_config.json": { chat_template: names.map((name) => ({ name, template: `${name}!` })) },
  });
  expect(assets(named("tool_use", "default"))?.chatTemplate).toBe("default!");
  expect(assets(named("tool_use"))).not.toHaveProperty("chatTemplate");
});

test.each([
  ["generation_config.json", { eos_token_id: -1 }, /generation_config.json: eos_token_id/],
  ["config.json", { bos_token_id: "0" }, /config.json: bos_token_id/],
  ["tokenizer_config.json", { chat_template: 3 }, /tokenizer_config.json: chat_template/],
  ["tokenizer.json", "{", /tokenizer.json: .*JSON/],
])("%s that does not fit is refused", (name, contents, message) => {
  expect(() => assets({ [name]: contents })).toThrow(failure("malformed", message));
});
