import { type DrafterChoice, type DrafterName, isDrafterPath } from "./engine-options.ts";
import { EngineOptionsError, ModelFileError } from "./errors.ts";
import { drafterBeside, drafterKindsBeside } from "./model/bundled.ts";
import { checkSameTokens, type DrafterFiles, openDrafter } from "./model/drafter-files.ts";
import { checkKernelSizes } from "./model/llama.ts";
import type { LlamaConfig, OpenedModel } from "./model/types.ts";

export interface OpenedDraftModel extends OpenedModel {
  readonly kind: "draft";
}

/** A drafter that was asked for; where it has files they are open, and nothing is on the GPU yet. */
export type OpenedDrafter = OpenedDraftModel | DrafterFiles | { readonly kind: "suffix" };

/**
 * Opens a choice of drafters, in its order: none for "none", for "auto" the first that lies beside the target, else suffix. To be
 * closed with `closeDrafters`.
 * @throws EngineOptionsError where they do not go together; ModelFileError where one is missing, damaged or made for another target
 */
export function openDrafters(choice: DrafterChoice, target: OpenedModel): readonly OpenedDrafter[] {
  const names = typeof choice === "string" ? [choice] : choice;
  if (names.length === 0) throw new EngineOptionsError("drafter is an empty list; none is one without drafter");
  const alone = names.find((name) => name === "auto" || name === "none");
  if (names.length > 1 && alone !== undefined) {
    throw new EngineOptionsError(`drafter is ${names.join()}, but ${alone} stands alone`);
  }
  const drafters: OpenedDrafter[] = [];
  try {
    for (const name of names.filter((one) => one !== "none")) {
      const drafter = open(name, target);
      drafters.push(drafter);
      if ("config" in drafter) checkKernelSizes(drafter.config, drafter.path);
    }
    const kinds = drafters.map(({ kind }) => kind);
    const twice = kinds.find((kind, i) => kinds.indexOf(kind) < i);
    if (twice !== undefined)
      throw new EngineOptionsError(`drafter is ${names.join()}: only one of them can be ${twice}`);
  } catch (error) {
    closeDrafters(drafters);
    throw error;
  }
  return drafters;
}

export function closeDrafters(drafters: readonly OpenedDrafter[]): void {
  for (const drafter of drafters) if ("weights" in drafter) drafter.weights.close();
}

/** Of those that are decoders. */
export function configsOf(drafters: readonly OpenedDrafter[]): readonly LlamaConfig[] {
  return drafters.flatMap((drafter) => ("config" in drafter ? [drafter.config] : []));
}

function open(name: Exclude<DrafterName, "none">, target: OpenedModel): OpenedDrafter {
  if (name === "suffix") return { kind: "suffix" };
  if (isDrafterPath(name)) return openAt(name, target);
  if (name === "auto") return open(drafterKindsBeside(target.path)[0] ?? "suffix", target);
  const path = drafterBeside(target.path, name);
  if (path !== undefined) return openAt(path, target);
  const problem = `has no drafter of kind ${name} beside it; use --drafter PATH, suffix or none`;
  throw new ModelFileError("not_found", target.path, problem);
}

/** @throws ModelFileError where it is no drafter, or a draft model with other tokens. */
function openAt(path: string, target: OpenedModel): OpenedDrafter {
  const opened = openDrafter(path);
  if ("kind" in opened) return opened;
  try {
    checkSameTokens(target, opened);
  } catch (error) {
    opened.weights.close();
    throw error;
  }
  return { kind: "draft", ...opened };
}
