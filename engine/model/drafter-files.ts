import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { ModelFileError } from "../errors.ts";
import { llamaConfigFromHf, unsupported } from "./config.ts";
import { checkSchema, readJson } from "./json.ts";
import { asModelFileError } from "./model-file.ts";
import { SafetensorsWeights } from "./safetensors-weights.ts";
import type { LlamaConfig, WeightSource } from "./types.ts";

/** Drafters that are parts of a model: they work with one target's embedding, LM head and hidden states or K/V. */
export const ATTACHED_KINDS = ["eagle", "glide", "medusa"] as const;
export type AttachedKind = (typeof ATTACHED_KINDS)[number];

/** One with a decoder of its own. */
export interface DecoderFiles {
  readonly kind: Exclude<AttachedKind, "medusa">;
  readonly path: string;
  readonly config: LlamaConfig;
  readonly weights: WeightSource;
}

/** A drafter opened from disk; nothing is on the GPU yet. What Medusa's heads are like, their tensors say. */
export type DrafterFiles =
  | DecoderFiles
  | { readonly kind: "medusa"; readonly path: string; readonly weights: WeightSource };

const ARCHITECTURES = {
  eagle: "EagleLlamaForCausalLM",
  glide: "GlideLlamaForCausalLM",
  medusa: "MedusaModel",
} as const satisfies Record<AttachedKind, string>;
const PICKLES = [".bin", ".pt", ".pth"] as const;
const kindSchema = z.looseObject({ architectures: z.array(z.string()).nullish(), model_type: z.string().nullish() });

/**
 * Opens a drafter's folder: config.json and safetensors. Its kind is told by the configuration.
 * @throws ModelFileError unsupported where it is of no kind that is known, or comes as a pickle
 */
export function openDrafter(path: string): DrafterFiles {
  const folder = resolve(path);
  refusePickles(folder);
  const configPath = join(folder, "config.json");
  const json = readJson(configPath);
  const kind = kindOf(json, configPath);
  if (kind === "medusa") return { kind, path: folder, weights: SafetensorsWeights.open(folder) };
  const config = llamaConfigFromHf(json, configPath, [ARCHITECTURES[kind]]);
  return { kind, path: folder, config, weights: SafetensorsWeights.open(folder) };
}

function kindOf(json: unknown, file: string): AttachedKind {
  const { architectures, model_type: modelType } = checkSchema(kindSchema, json, file);
  const kind = ATTACHED_KINDS.find((one) => one === modelType || architectures?.includes(ARCHITECTURES[one]));
  if (kind !== undefined) return kind;
  throw unsupported(file, `a drafter of type ${modelType ?? "unknown"}; known: ${ATTACHED_KINDS.join(", ")}`);
}

/** Pickles run code when they are read, so they are not read; they are told of before anything else is found lacking. */
function refusePickles(folder: string): void {
  const files = filesIn(folder);
  const pickle = files.find((file) => PICKLES.some((ending) => file.endsWith(ending)));
  if (pickle === undefined || files.some((file) => file.endsWith(".safetensors"))) return;
  const way = `load it in Python with torch.load(${JSON.stringify(pickle)}, weights_only=True) and write model.safetensors with safetensors.torch.save_file`;
  throw new ModelFileError("unsupported", join(folder, pickle), `is a pickle, which may run code; to convert, ${way}`);
}

function filesIn(folder: string): readonly string[] {
  try {
    return statSync(folder).isDirectory() ? readdirSync(folder) : [folder];
  } catch (error) {
    throw asModelFileError(error, folder);
  }
}
