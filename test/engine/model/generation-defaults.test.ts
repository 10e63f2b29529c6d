import { describe, expect, test } from "vitest";
import { generationDefaultsFromFolder, generationDefaultsFromGguf } from "../../../engine/model/generation-defaults.ts";
import { Metadata, type MetadataValue } from "../../../engine/model/gguf/metadata.ts";
import { temporaryFolders } from "./temporary.ts";

const folderOf = temporaryFolders();

function malformed(message: RegExp) {
  return expect.objectContaining({
    name: "ModelFileError",
    code: "malformed",
    message: expect.stringMatching(message),
  });
}

describe("generation_config.json", () => {
  const defaults = (contents: object) => generationDefaultsFromFolder(folderOf({ "generation_config.json": contents }));

  test("sampling defaults", () => {
    const all = { do_sample: true, temperature: 0.6, top_p: 0.9, top_k: 20, min_p: 0.05, repetition_penalty: 1.1 };
    expect(defaults(all)).toEqual({ temperature: 0.6, topP: 0.9, topK: 20, minP: 0.05, repetitionPenalty: 1.1 });
    expect(defaults({ temperature: null })).toEqual({});
    expect(generationDefaultsFromFolder(folderOf({}))).toEqual({});
  });

  test("do_sample false means greedy", () => {
    expect(defaults({ do_sample: false, temperature: 0.6 })).toEqual({ temperature: 0 });
    const penalised = { do_sample: false, repetition_penalty: 1.1 };
    expect(defaults(penalised)).toEqual({ temperature: 0, repetitionPenalty: 1.1 });
  });

  test.each([
    { temperature: -1 },
    { top_p: 0 },
    { top_p: 1.5 },
    { top_k: 0.5 },
    { min_p: 2 },
    { repetition_penalty: 0 },
  ])("%j is refused", (bad) => {
    expect(() => defaults(bad)).toThrow(malformed(new RegExp(Object.keys(bad)[0] ?? "")));
  });
});

describe("GGUF metadata", () => {
  const defaults = (values: Readonly<Record<string, MetadataValue>>) => {
    const keys = Object.entries(values).map(([key, value]) => [`general.sampling.${key}`, value] as const);
    return generationDefaultsFromGguf(new Metadata("test.gguf", new Map(keys)));
  };

  test("sampling defaults under llama.cpp's keys", () => {
    const expected = { temperature: 0.6, topK: -1, topP: 0.95, minP: 0.05 };
    expect(defaults({ temp: 0.6, top_k: -1, top_p: 0.95, min_p: 0.05 })).toEqual(expected);
    expect(defaults({})).toEqual({});
  });

  test("values out of range are refused", () => {
    expect(() => defaults({ temp: -1 })).toThrow(malformed(/test.gguf: temperature/));
    expect(() => defaults({ temp: "warm" })).toThrow(malformed(/"general.sampling.temp" is not/));
  });
});
