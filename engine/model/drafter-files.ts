import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { LLAMA_ARCHITECTURES, llamaConfigFromHf, unsupported } from "./config.ts";
import { weightsDigest } from "./digest.ts";
import { type Eagle3Files, eagle3Files, isEagle3 } from "./eagle3-files.ts";
import { checkSchema, isJsonObject, readJson } from "./json.ts";
import { asModelFileError } from "./model-file.ts";
import { openModel } from "./open.ts";
import { SafetensorsWeights } from "./safetensors-weights.ts";
import { readSuccessors, type Successors } from "./successor-file.ts";
import type { LlamaConfig, OpenedModel, WeightSource } from "./types.ts";

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
export type DrafterFiles = AttachedFiles & {
  /** Hex digest of configuration and weights (`weightsDigest`). */
  readonly digest: string;
};

type AttachedFiles =
  | DecoderFiles
  | Eagle3Files
  | {
      readonly kind: "medusa";
      readonly path: string;
      readonly weights: WeightSource;
      /** Where the folder has them. */
      readonly successors?: Successors;
    };

const ARCHITECTURES: Readonly<Record<AttachedKind, string>> = {
  eagle: "EagleLlamaForCausalLM",
  glide: "GlideLlamaForCausalLM",
  medusa: "MedusaModel",
};
const PICKLES = [".bin", ".pt", ".pth"] as const;
/** What Medusa's authors call the file of their heads. */
const MEDUSA_FILE = "medusa_lm_head.safetensors";
const kindSchema = z.looseObject({ architectures: z.array(z.string()).nullish(), model_type: z.string().nullish() });

/**
 * Opens what drafts: a drafter's folder (config.json and safetensors), or a draft model in any form that a model has.
 * @throws ModelFileError unsupported where it is of no kind that is known, or comes as a pickle
 */
export function openDrafter(path: string): DrafterFiles | OpenedModel {
  const folder = resolve(path);
  if (!isFolder(folder)) return openModel(folder);
  refusePickles(folder);
  const configPath = join(folder, "config.json");
  if (!existsSync(configPath)) return openModel(folder);
  const json = readJson(configPath);
  const weights = SafetensorsWeights.open(folder, existsSync(join(folder, MEDUSA_FILE)) ? MEDUSA_FILE : undefined);
  try {
    const successors = readSuccessors(folder);
    const digest = weightsDigest(weights.files, JSON.stringify([json, successors?.digest]));
    if (isEagle3(weights)) return { ...eagle3Files(json, weights, folder, configPath), digest };
    const kind = kindOf(json, weights, configPath);
    if (kind === "medusa") return { kind, path: folder, weights, digest, ...(successors && { successors }) };
    if (kind !== undefined) {
      const config = llamaConfigFromHf(json, configPath, [ARCHITECTURES[kind], ...LLAMA_ARCHITECTURES]);
      return { kind, path: folder, config, weights, digest };
    }
  } catch (error) {
    weights.close();
    throw error;
  }
  weights.close();
  return openModel(folder);
}

/** The configuration may name it; public files often do not, and their tensors tell. Undefined where it may be a model. */
function kindOf(json: unknown, weights: WeightSource, file: string): AttachedKind | undefined {
  const { architectures, model_type: modelType } = checkSchema(kindSchema, json, file);
  const named = ATTACHED_KINDS.find((kind) => kind === modelType || architectures?.includes(ARCHITECTURES[kind]));
  if (named !== undefined) return named;
  if (weights.has("medusa_head.0.0.linear.weight") || weights.has("0.0.linear.weight")) return "medusa";
  return weights.has("fc.weight") && weights.has("layers.0.self_attn.q_proj.weight") ? "eagle" : undefined;
}

/** Pickles run code when they are read, so they are not read. */
function refusePickles(folder: string): void {
  const files = readdirSync(folder);
  const pickle = files.find((file) => PICKLES.some((ending) => file.endsWith(ending)));
  if (pickle === undefined || files.some((file) => file.endsWith(".safetensors") || file.endsWith(".gguf"))) return;
  const load = `torch.load(${JSON.stringify(pickle)}, map_location="cpu", weights_only=True)`;
  const problem = `is a pickle, which may run code; convert it in Python: safetensors.torch.save_file(${load}, "model.safetensors")`;
  throw unsupported(join(folder, pickle), problem);
}

/** @throws ModelFileError unsupported where target and draft model do not have the same tokens. */
export function checkSameTokens(target: OpenedModel, draft: OpenedModel): void {
  const [mine, its] = [target, draft].map(({ config, text }) => vocabularyOf(text?.tokenizerJson) ?? config.vocabSize);
  const differs =
    mine instanceof Map && its instanceof Map
      ? mine.size !== its.size || [...mine].some(([token, id]) => its.get(token) !== id)
      : target.config.vocabSize !== draft.config.vocabSize;
  if (!differs) return;
  throw unsupported(
    draft.path,
    `a draft model with another tokenizer than ${target.name}: their tokens must be the same`,
  );
}

/** Ids by token of a tokenizer.json. */
function vocabularyOf(tokenizerJson: unknown): ReadonlyMap<string, unknown> | undefined {
  const model = isJsonObject(tokenizerJson) ? tokenizerJson.model : undefined;
  const vocabulary = isJsonObject(model) ? model.vocab : undefined;
  return isJsonObject(vocabulary) ? new Map(Object.entries(vocabulary)) : undefined;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw asModelFileError(error, path);
  }
}
