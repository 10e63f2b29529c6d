import { existsSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { ModelFileError } from "../errors.ts";

/** The folder of the models that come with this package. @throws ModelFileError not_found outside of a package. */
export function bundledModelsDir(): string {
  // Sources run from engine/model, the build from dist/engine/model: the package root is above both.
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "package.json"))) return join(folder, "models");
    if (folder === dirname(folder)) {
      throw new ModelFileError("not_found", import.meta.dirname, "no package.json in any folder above");
    }
  }
}

/** Names of the bundled models and drafters, sorted. */
export function bundledModelNames(): readonly string[] {
  const folder = bundledModelsDir();
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && holdsWeights(join(folder, entry.name)))
    .map((entry) => entry.name)
    .sort();
}

function holdsWeights(folder: string): boolean {
  return readdirSync(folder).some((file) => file.endsWith(".gguf") || file.endsWith(".safetensors"));
}

/**
 * Absolute path of a bundled model's folder, or of a local file or folder. A bundled name comes before a folder of
 * that name in the working directory; "./name" says the latter.
 * @throws ModelFileError not_found, listing what was looked for.
 */
export function resolveModel(nameOrPath: string): string {
  const names = bundledModelNames();
  if (names.includes(nameOrPath)) return join(bundledModelsDir(), nameOrPath);
  const path = resolve(nameOrPath);
  if (nameOrPath !== "" && existsSync(path)) return path;
  const problem = `neither a bundled model nor a local file or folder (${path}); bundled: ${names.join(", ")}`;
  throw new ModelFileError("not_found", JSON.stringify(nameOrPath), problem);
}

/** Bundled targets and their draft models: same vocabulary, distilled from the target's own text. */
const DRAFTS: ReadonlyMap<string, string> = new Map([["sapling-14m", "sapling-2m-draft"]]);

/** Folder of the drafter of `kind` that is bundled with a target; as `bundledDraftFor`. */
export function bundledDrafterFor(modelPath: string, kind: string): string | undefined {
  const models = bundledModelsDir();
  const [target = ""] = relative(models, resolve(modelPath)).split(sep);
  const folder = `${target}-${kind}`;
  return bundledModelNames().includes(target) && bundledModelNames().includes(folder)
    ? join(models, folder)
    : undefined;
}

/**
 * Folder of the draft model that is bundled with a target, or undefined when none is.
 * @param modelPath the target's folder or a file in it. A copy of a bundled model elsewhere has no bundled draft.
 */
export function bundledDraftFor(modelPath: string): string | undefined {
  const models = bundledModelsDir();
  const parts = relative(models, resolve(modelPath)).split(sep);
  const draft = DRAFTS.get(parts[0] ?? "");
  return draft !== undefined && existsSync(join(models, draft)) ? join(models, draft) : undefined;
}
