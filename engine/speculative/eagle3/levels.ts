import { ModelFileError } from "../../errors.ts";
import type { Eagle3Files } from "../../model/eagle3-files.ts";
import type { LlamaConfig } from "../../model/types.ts";

/** Below it the three levels of the rule are not three layers. */
const FEWEST_LAYERS = 7;

/**
 * Layers of the target whose inputs EAGLE-3 fuses (arXiv 2503.01840, section 3.1): low, middle and high, which in its authors' code
 * and in public checkpoints are 2, half of all, and the third from the end. Some configurations count the layers before them, whose
 * outputs these are.
 * @throws ModelFileError unsupported where the target is too small, or the drafter was trained with other layers
 */
export function levelTaps(
  { path, layerIds }: Pick<Eagle3Files, "path" | "layerIds">,
  { numLayers }: Pick<LlamaConfig, "numLayers">,
): readonly [number, number, number] {
  const fail = (problem: string) => new ModelFileError("unsupported", path, problem);
  if (numLayers < FEWEST_LAYERS) {
    throw fail(`the target has ${numLayers} layers; EAGLE-3 fuses three of at least ${FEWEST_LAYERS}`);
  }
  const levels = [2, Math.floor(numLayers / 2), numLayers - 3] as const;
  const matches = (first: number) => layerIds?.every((id, i) => id + first === levels[i]) ?? true;
  if (!matches(0) && !matches(1)) {
    throw fail(
      `is trained with layers ${layerIds?.join(", ")} of its target; those of this one are ${levels.join(", ")}`,
    );
  }
  return levels;
}
