import type { GpuContext } from "../../kernels/index.ts";
import { MedusaProposer } from "../speculative/medusa/proposer.ts";
import { ModelProposer } from "../speculative/model-proposer.ts";
import type { Proposer } from "../speculative/proposer.ts";
import { DecoderDrafter } from "./decoder-drafter.ts";
import { MedusaDrafter } from "./medusa-drafter.ts";
import type { DraftedLanes, ResidentDrafter } from "./resident-drafter.ts";

/** Proposers whose drafts can be encoded without the host between levels and steps. */
export type ResidentProposer = ModelProposer | MedusaProposer;

/** One thread builds a tree: beyond these sizes everything would wait for it. */
const MAX_NODES = 64;
/** Of all levels of one tree. */
const MAX_CANDIDATES = 1024;

/** Whether the proposer drafts trees of these sizes on the device. */
export function draftsOnDevice(
  proposer: Proposer,
  { treeNodes, treeDepth }: { readonly treeNodes: number; readonly treeDepth: number },
): proposer is ResidentProposer {
  if (treeNodes > MAX_NODES) return false;
  if (proposer instanceof MedusaProposer) return true;
  if (!(proposer instanceof ModelProposer)) return false;
  return proposer.runner.options.topK * proposer.view.numExpanded * treeDepth <= MAX_CANDIDATES;
}

/** @throws GpuError, RangeError where the proposer was made for fewer lanes */
export function createDrafter(
  gpu: GpuContext,
  proposer: ResidentProposer,
  lanes: DraftedLanes,
): Promise<ResidentDrafter> {
  if (proposer instanceof MedusaProposer) return MedusaDrafter.create(gpu, proposer, lanes);
  return DecoderDrafter.create(gpu, proposer, lanes);
}
