import { describe, expect, test } from "vitest";
import { bundledModelsDir } from "../../../engine/model/bundled.ts";
import { ATTACHED_KINDS, checkSameTokens, openDrafter } from "../../../engine/model/drafter-files.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { OpenedModel } from "../../../engine/model/types.ts";
import { f32Bytes, writeSafetensors } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";

const folderOf = temporaryFolders();
/** Only names matter here. */
const file = (...names: string[]) =>
  writeSafetensors(Object.fromEntries(names.map((name) => [name, { dtype: "F32", shape: [1], data: f32Bytes([0]) }])));
const LLAMA = {
  ...{ architectures: ["LlamaForCausalLM"], model_type: "llama", vocab_size: 8, hidden_size: 8, num_hidden_layers: 1 },
  ...{ num_attention_heads: 1, intermediate_size: 8 },
};

function kindOf(folder: string): string {
  const opened = openDrafter(folder);
  opened.weights.close();
  return "kind" in opened ? opened.kind : "model";
}

describe("the kind of a drafter", () => {
  test.each(ATTACHED_KINDS)("bundled: %s", (kind) => {
    expect(kindOf(`${bundledModelsDir()}/sapling-14m-${kind}`)).toBe(kind);
  });

  test("bundled: a draft model, and a model as a file", () => {
    expect(kindOf(`${bundledModelsDir()}/sapling-2m-draft`)).toBe("model");
    expect(kindOf(`${bundledModelsDir()}/sapling-14m/sapling-14m-q8_0.gguf`)).toBe("model");
  });

  test.each([
    ["the heads of Medusa's authors, without a prefix", "medusa_lm_head.safetensors", ["0.0.linear.weight"], "medusa"],
    ["heads with one", "model.safetensors", ["medusa_head.0.0.linear.weight"], "medusa"],
    ["EAGLE under a model's name", "model.safetensors", ["fc.weight", "layers.0.self_attn.q_proj.weight"], "eagle"],
    ["EAGLE-3 under a model's name", "model.safetensors", ["fc.weight", "midlayer.hidden_norm.weight"], "eagle3"],
  ] as const)("public files, told by their tensors: %s", (_, name, tensors, kind) => {
    const config = kind === "medusa" ? { medusa_num_heads: 1 } : LLAMA;
    expect(kindOf(folderOf({ "config.json": config, [name]: file(...tensors) }))).toBe(kind);
  });
});

describe("refused, saying why", () => {
  test("pickles, with the way to convert them", () => {
    const folder = folderOf({ "config.json": { medusa_num_heads: 1 }, "medusa_lm_head.pt": "pickle" });
    expect(() => openDrafter(folder)).toThrow(/medusa_lm_head\.pt.*is a pickle.*save_file\(torch\.load/s);
  });

  const offsets = (...values: number[]) => ({
    ...{ dtype: "I64", shape: [values.length] },
    data: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
  });
  const mask = (...values: number[]) => ({ dtype: "BOOL", shape: [values.length], data: Uint8Array.from(values) });

  test.each([
    ["a token beyond the vocabulary", { d2t: offsets(0, 7) }, /d2t names token 8, but the vocabulary has 8/],
    ["a token below it", { d2t: offsets(-1) }, /d2t names token -1/],
    ["a token twice", { d2t: offsets(1, 0) }, /d2t names a token twice/],
    ["maps that differ", { d2t: offsets(1, 1), t2d: mask(0, 1, 0, 0, 0, 0, 0, 0) }, /do not agree about token 2/],
  ])("EAGLE-3 with a vocabulary map that names %s", (_, maps, message) => {
    const norm = { "midlayer.hidden_norm.weight": { dtype: "F32", shape: [1], data: f32Bytes([0]) } };
    const folder = folderOf({ "config.json": LLAMA, "model.safetensors": writeSafetensors({ ...norm, ...maps }) });
    expect(() => openDrafter(folder)).toThrow(message);
  });

  test("EAGLE-3 whose residual stream begins otherwise", () => {
    const config = { ...LLAMA, norm_before_residual: true };
    const folder = folderOf({ "config.json": config, "model.safetensors": file("midlayer.hidden_norm.weight") });
    expect(() => openDrafter(folder)).toThrow(/norm_before_residual/);
  });

  test("what is nothing that is known", () => {
    const config = { architectures: ["HydraModel"], model_type: "hydra" };
    const folder = folderOf({ "config.json": config, "model.safetensors": file("head.weight") });
    expect(() => openDrafter(folder)).toThrow(/HydraModel/);
  });

  test("nothing at all", () => {
    expect(() => openDrafter("/does/not/exist")).toThrow(/exist/);
  });

  test("a draft model with other tokens, even if they are as many", () => {
    const model = openModel(`${bundledModelsDir()}/sapling-2m-draft`);
    model.weights.close();
    const withVocabulary = (vocab: Readonly<Record<string, number>>): OpenedModel => ({
      ...model,
      text: { tokenizerJson: { model: { vocab } }, addBos: false, endTokenIds: [] },
    });
    const target = withVocabulary({ a: 0, b: 1 });
    expect(() => checkSameTokens(target, withVocabulary({ b: 1, a: 0 }))).not.toThrow();
    expect(() => checkSameTokens(target, withVocabulary({ a: 1, b: 0 }))).toThrow(/another tokenizer/);
    expect(() => checkSameTokens(target, withVocabulary({ a: 0 }))).toThrow(/another tokenizer/);
  });
});
