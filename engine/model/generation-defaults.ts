import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Metadata } from "./gguf/metadata.ts";
import { checkSchema, readJson } from "./json.ts";
import type { GenerationDefaults } from "./types.ts";

const schema = z.object({
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_p: z.number().positive().max(1).nullish(),
  /** 0 and below are off. */
  top_k: z.number().int().nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().positive().nullish(),
});

/** Sampling defaults of generation_config.json. @throws ModelFileError malformed when a value is out of its range. */
export function generationDefaultsFromFolder(folder: string): GenerationDefaults {
  const path = join(folder, "generation_config.json");
  return existsSync(path) ? checkedDefaults(readJson(path), path) : {};
}

/** llama.cpp's "general.sampling" keys. @throws ModelFileError malformed when a value is out of its range. */
export function generationDefaultsFromGguf(metadata: Metadata): GenerationDefaults {
  const number = (key: string) => metadata.number(`general.sampling.${key}`);
  const found = { temperature: number("temp"), top_p: number("top_p"), top_k: number("top_k"), min_p: number("min_p") };
  return checkedDefaults(found, metadata.file);
}

function checkedDefaults(json: unknown, file: string): GenerationDefaults {
  const { do_sample, temperature, top_p: topP, top_k: topK, min_p: minP, ...rest } = checkSchema(schema, json, file);
  const penalty = rest.repetition_penalty == null ? {} : { repetitionPenalty: rest.repetition_penalty };
  // What transformers does without sampling.
  if (do_sample === false) return { temperature: 0, ...penalty };
  return {
    ...(temperature != null && { temperature }),
    ...(topP != null && { topP }),
    ...(topK != null && { topK }),
    ...(minP != null && { minP }),
    ...penalty,
  };
}
