import { type FeatureStore, type GpuContext, storageBytes } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import type { DrafterFiles } from "../model/drafter-files.ts";
import type { FeatureTap } from "../model/llama.ts";
import type { LlamaConfig } from "../model/types.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import { levelTaps } from "./eagle3/levels.ts";

/** Hidden states that a target keeps for a drafter. @throws ModelFileError where the target does not have them */
export function featuresFor(drafter: DrafterFiles, target: LlamaConfig): readonly FeatureTap[] {
  if (drafter.kind === "glide") return [];
  return drafter.kind === "eagle3" ? levelTaps(drafter, target) : ["final"];
}

/** Hidden states that a target keeps for several drafters (`RunnerOptions.features`), each once. @throws ModelFileError as above */
export function featuresForAll(drafters: readonly DrafterFiles[], target: LlamaConfig): readonly FeatureTap[] {
  return [...new Set(drafters.flatMap((drafter) => featuresFor(drafter, target)))];
}

/** Where a drafter finds its features among all that a target keeps. Those of one drafter lie one after the other. */
export function featuresOf(
  { kv, options }: Pick<ModelRunner, "kv" | "options">,
  taps: readonly FeatureTap[],
  { hiddenSize }: Pick<LlamaConfig, "hiddenSize">,
): FeatureStore {
  const first = options.features?.indexOf(taps[0] ?? "final") ?? -1;
  if (kv.features === undefined || first < 0)
    throw new Error("invariant: the target keeps no features for its drafter");
  return { ...kv.features, offset: first * hiddenSize, size: taps.length * hiddenSize };
}

/** Bytes of one block of so many hidden states. */
export function featureBlockBytes(
  gpu: GpuContext,
  numFeatures: number,
  { hiddenSize }: Pick<LlamaConfig, "hiddenSize">,
): number {
  return numFeatures * BLOCK_SIZE * hiddenSize * storageBytes(gpu.family);
}
