import type { GpuContext } from "../../kernels/index.ts";
import type { DraftedLanes, ResidentDrafter } from "./resident-drafter.ts";

/** How a proposer's drafts are encoded without the host between levels and steps. */
export interface DeviceDrafting {
  /** Candidates from which a tree of so many levels is built. */
  numCandidates(treeDepth: number): number;
  /** @throws GpuError, RangeError where the proposer was made for fewer lanes */
  create(gpu: GpuContext, lanes: DraftedLanes): Promise<ResidentDrafter>;
}

/** One thread builds a tree: beyond these sizes everything would wait for it. */
const MAX_NODES = 64;
const MAX_CANDIDATES = 1024;

/** Whether trees of these sizes are small enough to be drafted there. */
export function suitsDevice(
  drafting: DeviceDrafting,
  { treeNodes, treeDepth }: { readonly treeNodes: number; readonly treeDepth: number },
): boolean {
  return treeNodes <= MAX_NODES && drafting.numCandidates(treeDepth) <= MAX_CANDIDATES;
}
