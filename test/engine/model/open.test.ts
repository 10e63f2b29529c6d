import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  bundledModelNames,
  bundledModelsDir,
  drafterBeside,
  drafterKindsBeside,
  resolveModel,
} from "../../../engine/model/bundled.ts";
import { llamaTensorShapes } from "../../../engine/model/llama-tensors.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { OpenedModel } from "../../../engine/model/types.ts";
import { firstDifferentBits } from "../../support/arrays.ts";
import { f32Bytes, writeSafetensors } from "./safetensors-writer.ts";
import { temporaryFolders } from "./temporary.ts";
import { hfFolder, hfTensors, tinyGguf } from "./tiny-model.ts";

const folderOf = temporaryFolders();

function failure(code: string, message: RegExp) {
  return expect.objectContaining({ name: "ModelFileError", code, message: expect.stringMatching(message) });
}

function opened<T>(path: string, use: (model: OpenedModel) => T): T {
  const model = openModel(path);
  try {
    return use(model);
  } finally {
    model.weights.close();
  }
}

describe("the bundled models", () => {
  const HEADS = { headDim: 64, maxPositionEmbeddings: 2048, vocabSize: 4096, ropeTheta: 10_000 };

  test.each([
    ["sapling-14m", { hiddenSize: 384, numLayers: 8, numHeads: 6, numKvHeads: 2, intermediateSize: 1024, ...HEADS }],
    [
      "sapling-2m-draft",
      { hiddenSize: 192, numLayers: 3, numHeads: 3, numKvHeads: 1, intermediateSize: 512, ...HEADS },
    ],
  ])("%s opens, and every weight has its shape and sane values", (name, config) => {
    opened(resolveModel(name), (model) => {
      expect(model.name).toBe(name);
      expect(model.config).toMatchObject({ ...config, tieWordEmbeddings: true });
      expect(model.text).toMatchObject({ bosTokenId: 0, addBos: false, endTokenIds: [2, 0] });
      expect(model.text?.chatTemplate).toContain("<|im_start|>");
      const shapes = llamaTensorShapes(model.config);
      expect([...shapes.keys()].sort()).toEqual([...model.weights.names()].sort());
      for (const [tensor, shape] of shapes) {
        expect(model.weights.info(tensor).shape).toEqual(shape);
        const values = model.weights.readF32(tensor);
        expect(values).toHaveLength(shape.reduce((a, b) => a * b, 1));
        const meanSquare = values.reduce((sum, value) => sum + value * value, 0) / values.length;
        // NaN and a scale read from the wrong place fail this alike.
        expect(meanSquare > 1e-6 && meanSquare < 100, `${tensor}: ${meanSquare}`).toBe(true);
      }
    });
  });

  test("a drafter that is not a plain decoder is no model", () => {
    expect(() => openModel(resolveModel("sapling-14m-eagle"))).toThrow(failure("unsupported", /EagleLlamaForCausalLM/));
  });

  test("the target's draft has the target's tokenizer", () => {
    const target = resolveModel("sapling-14m");
    const draft = drafterBeside(target, "draft");
    expect(draft).toBe(join(bundledModelsDir(), "sapling-2m-draft"));
    expect(drafterBeside(join(target, "sapling-14m-q8_0.gguf"), "draft")).toBe(draft);
    const tokenizer = (path: string) => opened(path, ({ text }) => text?.tokenizerJson);
    expect(tokenizer(draft ?? "")).toEqual(tokenizer(target));
  });

  test("drafters lie beside a model, under its name and their kind", () => {
    expect(drafterKindsBeside(resolveModel("sapling-14m"))).toEqual(["draft", "eagle", "glide", "medusa"]);
    const folder = folderOf({ "a.gguf": "", "a-draft": "", "a-eagle/model.safetensors": "", "a-glide/README": "" });
    expect(drafterKindsBeside(join(folder, "a.gguf"))).toEqual(["eagle"]);
    expect(drafterBeside(join(folder, "a"), "eagle")).toBe(join(folder, "a-eagle"));
    const paths = [bundledModelsDir(), resolveModel("sapling-2m-draft"), "/", "/models/sapling-14m", "sapling-14m"];
    expect(paths.map(drafterKindsBeside)).toEqual(paths.map(() => []));
  });

  test("names resolve to folders, other text to a path or an error that lists the names", () => {
    expect(bundledModelNames()).toEqual(expect.arrayContaining(["sapling-14m", "sapling-2m-draft"]));
    expect(bundledModelNames()).not.toContain("training");
    const folder = folderOf({});
    expect(resolveModel(folder)).toBe(folder);
    expect(() => resolveModel("no-such-model")).toThrow(
      failure("not_found", /"no-such-model".*bundled: .*sapling-14m/),
    );
    expect(() => resolveModel("")).toThrow(failure("not_found", /bundled/));
  });
});

describe("places a model may lie in", () => {
  test("a .gguf file, and a folder that holds one", () => {
    const folder = folderOf({ "tiny.gguf": tinyGguf(), "README.md": "text" });
    const [file, whole] = [opened(join(folder, "tiny.gguf"), (m) => m), opened(folder, (m) => m)];
    expect(file).toMatchObject({ name: "tiny", path: join(folder, "tiny.gguf"), config: { numLayers: 1 } });
    expect(whole).toMatchObject({ path: folder, config: file.config, digest: file.digest });
  });

  test("a Hugging Face folder", () => {
    opened(folderOf(hfFolder()), (model) => {
      expect(model.config).toMatchObject({ headDim: 4, ropeTheta: 500_000 });
      expect(model.generationDefaults).toEqual({ temperature: 0.6, topP: 0.9 });
      expect(model.text).toMatchObject({ chatTemplate: "hi", bosTokenId: 0, addBos: false, endTokenIds: [3, 0] });
      const stored = hfTensors()["model.layers.0.self_attn.q_proj.weight"]?.data ?? new Uint8Array();
      const expected = new Float32Array(Uint8Array.from(stored).buffer);
      expect(firstDifferentBits(model.weights.readF32("model.layers.0.self_attn.q_proj.weight"), expected)).toBe(-1);
    });
  });

  test.each([
    ["an empty folder", {}, "not_found", /neither a .gguf file nor/],
    ["two files", { "a.gguf": tinyGguf(), "b.gguf": tinyGguf() }, "malformed", /name one of a.gguf, b.gguf/],
    ["no config.json", { ...hfFolder(), "config.json": "" }, "malformed", /config.json/],
    ["a folder named as a file", { "model.gguf/x": "" }, "malformed", /not a regular file/],
  ])("%s is refused", (_what, files, code, message) => {
    expect(() => openModel(folderOf(files))).toThrow(failure(code, message));
  });

  test("a path that is not there", () => {
    expect(() => openModel("/no/such/model.gguf")).toThrow(failure("not_found", /no such file or folder/));
  });
});

describe("weights against the configuration", () => {
  const withTensors = (change: (tensors: ReturnType<typeof hfTensors>) => void) => {
    const tensors = hfTensors();
    change(tensors);
    return folderOf({ ...hfFolder(), "model.safetensors": writeSafetensors(tensors) });
  };
  const up = "model.layers.0.mlp.up_proj.weight";

  test("a missing tensor", () => {
    const folder = withTensors((tensors) => delete tensors[up]);
    expect(() => openModel(folder)).toThrow(failure("malformed", /no tensor model.layers.0.mlp.up_proj.weight/));
  });

  test("a tensor of another shape", () => {
    const folder = withTensors((tensors) => {
      tensors[up] = { dtype: "F32", shape: [2, 8], data: new Uint8Array(64) };
    });
    expect(() => openModel(folder)).toThrow(failure("malformed", /up_proj.weight is \[2, 8\], .* says \[4, 4\]/));
  });

  test("a bias", () => {
    const folder = withTensors((tensors) => {
      tensors["model.layers.0.self_attn.q_proj.bias"] = { dtype: "F32", shape: [8], data: f32Bytes(Array(8).fill(0)) };
    });
    expect(() => openModel(folder)).toThrow(failure("unsupported", /q_proj.bias/));
  });

  test("more layers than a file can hold", () => {
    expect(() =>
      openModel(folderOf({ "m.gguf": tinyGguf({ "llama.block_count": { type: "u32", value: 2 ** 26 } }) })),
    ).toThrow(failure("malformed", /67108864 layers but only 11 tensors/));
  });

  test("digests tell weights apart by the head of a tensor, and a configuration by any field", () => {
    const digest = (folder: string) => opened(folder, (model) => model.digest);
    const original = digest(folderOf(hfFolder()));
    const changed = withTensors((tensors) => {
      tensors[up]?.data.set([1], 0);
    });
    expect(digest(folderOf(hfFolder()))).toBe(original);
    expect(digest(changed)).not.toBe(original);
    const config = { ...(hfFolder()["config.json"] as object), rope_theta: 10_000 };
    expect(digest(folderOf({ ...hfFolder(), "config.json": config }))).not.toBe(original);
    expect(original).toMatch(/^[0-9a-f]{64}$/);
  });

  test.skipIf(process.platform !== "linux")("an error leaves no file open", () => {
    const numOpen = () => readdirSync("/proc/self/fd").length;
    const cut = tinyGguf();
    const folders = [
      folderOf({ "m.gguf": cut.subarray(0, cut.length - 1) }),
      folderOf({ "m.gguf": tinyGguf({ "tokenizer.ggml.pre": { type: "string", value: "unheard-of" } }) }),
      withTensors((tensors) => delete tensors[up]),
    ];
    const before = numOpen();
    for (const folder of folders) expect(() => openModel(folder)).toThrow();
    expect(numOpen()).toBe(before);
  });
});
