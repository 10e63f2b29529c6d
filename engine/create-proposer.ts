import type { BlockManager } from "../kvcache/block-manager.ts";
import type { OpenedDrafter } from "./open-drafters.ts";
import { ModelRunner } from "./runner/model-runner.ts";
import { type AttachableTarget, attachDrafter, type DraftSizes } from "./speculative/attach.ts";
import { draftRunnerOptions } from "./speculative/draft-limits.ts";
import { DraftModelProposer } from "./speculative/draft-model.ts";
import type { Proposer } from "./speculative/proposer.ts";
import { NoProposer } from "./speculative/root-only.ts";
import { SuffixProposer } from "./speculative/suffix.ts";
import { UnionProposer } from "./speculative/union.ts";

/** A draft model on the device, and who hands out the blocks of its cache. */
export interface DraftModelParts extends Omit<AttachableTarget, "runner"> {
  readonly blocks: BlockManager;
}

/**
 * One proposer of all drafters, each on the target's device.
 * @param draftModel there where a drafter is a draft model
 * @throws ModelFileError where files are damaged or do not fit the target, GpuError
 */
export async function createProposer(
  drafters: readonly OpenedDrafter[],
  target: AttachableTarget,
  draftModel: DraftModelParts | undefined,
  sizes: DraftSizes,
): Promise<Proposer> {
  const members = await Promise.all(
    drafters.map((drafter): Proposer | Promise<Proposer> => {
      if (drafter.kind === "suffix") return new SuffixProposer();
      if (drafter.kind !== "draft") return attachDrafter(drafter, target, sizes);
      if (draftModel === undefined) throw new Error("invariant: the draft model is not on the device");
      return createDraftModel(draftModel, target.runner, sizes);
    }),
  );
  const [only = new NoProposer()] = members;
  return members.length > 1 ? new UnionProposer(members) : only;
}

async function createDraftModel(
  draft: DraftModelParts,
  target: ModelRunner,
  sizes: DraftSizes,
): Promise<DraftModelProposer> {
  const runner = await ModelRunner.create(draft.gpu, draft, draftRunnerOptions(target, sizes, sizes.treeTopK));
  return new DraftModelProposer(runner, draft.blocks);
}
