import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { ModelFileError } from "../errors.ts";

const GGUF = ".gguf";

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
  return readdirSync(folder).some((file) => file.endsWith(GGUF) || file.endsWith(".safetensors"));
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

/** Drafters that may lie beside a model, in the order in which `auto` takes them where it cannot measure. */
export const BESIDE_KINDS = ["draft", "eagle", "glide", "medusa"] as const;
export type BesideKind = (typeof BESIDE_KINDS)[number];

/** Bundled targets whose draft models have other names than `-draft` gives. */
const DRAFTS: ReadonlyMap<string, string> = new Map([["sapling-14m", "sapling-2m-draft"]]);

/**
 * Folder of the drafter of `kind` that lies beside a target: the target's own path (of a file without .gguf, or the folder that it is in)
 * with `-draft`, `-eagle`, `-glide` or `-medusa` behind it. Undefined where there is none.
 * @param modelPath the target's folder or file
 */
export function drafterBeside(modelPath: string, kind: BesideKind): string | undefined {
  const path = resolve(modelPath);
  const stems = path.endsWith(GGUF) ? [path.slice(0, -GGUF.length), dirname(path)] : [path];
  const bundled = kind === "draft" && stems.find((stem) => dirname(stem) === bundledModelsDir());
  const draft = bundled ? DRAFTS.get(basename(bundled)) : undefined;
  const folders = draft === undefined ? stems.map((stem) => `${stem}-${kind}`) : [join(bundledModelsDir(), draft)];
  return folders.find((folder) => statSync(folder, { throwIfNoEntry: false })?.isDirectory() && holdsWeights(folder));
}

/** Kinds of the drafters that lie beside a target. */
export function drafterKindsBeside(modelPath: string): readonly BesideKind[] {
  return BESIDE_KINDS.filter((kind) => drafterBeside(modelPath, kind) !== undefined);
}
