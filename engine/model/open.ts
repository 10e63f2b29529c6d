import { readdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { ModelFileError } from "../errors.ts";
import { llamaConfigFromHf } from "./config.ts";
import { weightsDigest } from "./digest.ts";
import { generationDefaultsFromFolder, generationDefaultsFromGguf } from "./generation-defaults.ts";
import { llamaConfigFromGguf } from "./gguf/config.ts";
import { openGguf } from "./gguf/gguf-file.ts";
import { textAssetsFromGguf } from "./gguf/text-assets.ts";
import { GgufWeights } from "./gguf/weights.ts";
import { parseJson, readText } from "./json.ts";
import { checkLlamaTensors } from "./llama-tensors.ts";
import { asModelFileError } from "./model-file.ts";
import { SafetensorsWeights } from "./safetensors-weights.ts";
import { textAssetsFromFolder } from "./text-assets.ts";
import type { OpenedModel } from "./types.ts";

const EXTENSION = ".gguf";

/**
 * Opens a Llama model: a .gguf file, a folder with one .gguf file, or a Hugging Face folder (config.json and
 * safetensors). Headers and small files are read and checked in full; weights are read on demand until
 * `weights.close()`.
 * @throws ModelFileError naming file, field and, in binary files, offset. Nothing stays open then.
 */
export function openModel(path: string): OpenedModel {
  const absolute = resolve(path);
  if (!isFolder(absolute)) return openGgufModel(absolute, absolute, basename(absolute, EXTENSION));
  const name = basename(absolute);
  if (SafetensorsWeights.isIn(absolute)) return openFolder(absolute, name);
  return openGgufModel(absolute, join(absolute, onlyGgufIn(absolute)), name);
}

function openGgufModel(path: string, file: string, name: string): OpenedModel {
  const gguf = openGguf(file);
  try {
    const config = llamaConfigFromGguf(gguf);
    const weights = new GgufWeights(gguf, config);
    checkLlamaTensors(config, weights, file);
    const text = textAssetsFromGguf(gguf.metadata, config.vocabSize);
    const generationDefaults = generationDefaultsFromGguf(gguf.metadata);
    const digest = weightsDigest([gguf]);
    return { name, path, config, weights, ...(text && { text }), generationDefaults, digest };
  } catch (error) {
    gguf.file.close();
    throw error;
  }
}

function openFolder(path: string, name: string): OpenedModel {
  const configPath = join(path, "config.json");
  const configText = readText(configPath);
  const config = llamaConfigFromHf(parseJson(configText, configPath), configPath);
  const text = textAssetsFromFolder(path);
  const generationDefaults = generationDefaultsFromFolder(path);
  const weights = SafetensorsWeights.open(path);
  try {
    checkLlamaTensors(config, weights, path);
    const digest = weightsDigest(weights.files, configText);
    return { name, path, config, weights, ...(text && { text }), generationDefaults, digest };
  } catch (error) {
    weights.close();
    throw error;
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw asModelFileError(error, path);
  }
}

function onlyGgufIn(folder: string): string {
  let files: string[];
  try {
    files = readdirSync(folder).filter((file) => file.endsWith(EXTENSION));
  } catch (error) {
    throw asModelFileError(error, folder);
  }
  const [file, second] = files;
  if (file === undefined) {
    throw new ModelFileError("not_found", folder, "holds neither a .gguf file nor config.json with model.safetensors");
  }
  if (second !== undefined) {
    throw new ModelFileError("malformed", folder, `holds ${files.length} .gguf files; name one of ${files.join(", ")}`);
  }
  return file;
}
