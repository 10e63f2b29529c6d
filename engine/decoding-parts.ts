import type { GpuContext } from "../kernels/index.ts";
import type { Settings } from "./engine-options.ts";
import type { EngineParts } from "./engine-parts.ts";
import { ResidentLoop } from "./resident/resident-loop.ts";
import type { ModelRunner } from "./runner/model-runner.ts";
import { AdaptiveTrees } from "./speculative/budget/adaptive-trees.ts";
import { measurePasses } from "./speculative/budget/measure-passes.ts";
import { SequoiaTrees, ShapedTrees } from "./speculative/budget/static-trees.ts";
import { FixedTrees, type TreePolicy } from "./speculative/budget/tree-policy.ts";
import type { Proposer } from "./speculative/proposer.ts";
import { regularShape } from "./speculative/tree-shape.ts";

type Residents = Pick<EngineParts, "residentDrafting" | "residentPlain">;

/** Steady decoding on the device: none where it is not wanted; with drafts only where the proposer drafts there. */
export async function createResidents(
  { stepsInFlight, maxNumSeqs, treeNodes, treeDepth, tree, treeBudget, profile }: Settings,
  gpu: GpuContext,
  runner: ModelRunner,
  { onDevice }: Proposer,
): Promise<Residents> {
  if (stepsInFlight === 0) return {};
  const sizes = { treeNodes, treeDepth, isShaped: tree !== undefined };
  const options = { ...sizes, maxLanes: maxNumSeqs, stepsInFlight, profile };
  const drafting = treeNodes > 1 ? onDevice : undefined;
  const isEverPlain = treeNodes === 1 || (treeBudget === "adaptive" && tree === undefined);
  const [residentDrafting, residentPlain] = await Promise.all([
    drafting && ResidentLoop.create(gpu, runner, drafting, options),
    isEverPlain ? ResidentLoop.create(gpu, runner, undefined, { ...options, treeNodes: 1 }) : undefined,
  ]);
  return { ...(residentDrafting ? { residentDrafting } : {}), ...(residentPlain ? { residentPlain } : {}) };
}

/** Measures what passes cost, where what is speculated depends on it. */
export async function createPolicy(
  { maxNumSeqs, treeNodes, treeDepth, treeTopK, tree, treeBudget, tokenBudget }: Settings,
  gpu: GpuContext,
  runner: ModelRunner,
  { residentDrafting, residentPlain }: Residents,
): Promise<TreePolicy> {
  if (treeNodes > 1 && Array.isArray(tree)) return new ShapedTrees(regularShape(tree));
  if (treeNodes === 1 || (treeBudget === "fixed" && tree === undefined)) {
    return new FixedTrees({ numLookaheadNodes: treeNodes - 1, maxDraftDepth: treeNodes === 1 ? 0 : treeDepth });
  }
  const sizes = {
    maxNodes: treeNodes,
    maxDepth: treeDepth,
    passes: await measurePasses(gpu, runner, { maxNumSeqs, treeNodes }),
  };
  const draftsOnDevice = residentDrafting !== undefined;
  if (tree === "sequoia") return new SequoiaTrees({ ...sizes, topK: treeTopK, draftsOnDevice });
  return new AdaptiveTrees({
    ...{ ...sizes, tokenBudget, draftsOnDevice },
    ...{ plainOnDevice: residentPlain !== undefined, draftRows: treeTopK },
  });
}
