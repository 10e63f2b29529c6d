import type { GpuContext } from "../../kernels/index.ts";
import type { DraftedLanes, ResidentDrafter } from "./resident-drafter.ts";

/** Bounds of the trees. */
export interface DeviceTreeSizes {
  /** Root included. */
  readonly treeNodes: number;
  readonly treeDepth: number;
  /** They have a shape that is given: it says how many nodes a level expands. */
  readonly isShaped: boolean;
}

/** How a proposer's drafts are encoded without the host between levels and steps. */
export interface DeviceDrafting {
  /** Candidates from which a tree of these sizes is built. */
  numCandidates(sizes: DeviceTreeSizes): number;
  /** Names of those who propose into one tree, where they are several. */
  readonly proposers?: readonly string[];
  /** @throws GpuError, RangeError where the proposer was made for fewer lanes */
  create(gpu: GpuContext, lanes: DraftedLanes): Promise<ResidentDrafter>;
}

/** One thread builds a tree: beyond these sizes everything would wait for it. */
const MAX_NODES = 64;
const MAX_CANDIDATES = 1024;

/** Whether trees of these sizes are small enough to be drafted there. */
export function suitsDevice(drafting: DeviceDrafting, sizes: DeviceTreeSizes): boolean {
  return sizes.treeNodes <= MAX_NODES && drafting.numCandidates(sizes) <= MAX_CANDIDATES;
}
