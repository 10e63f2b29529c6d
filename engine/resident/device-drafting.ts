import type { GpuContext } from "../../kernels/index.ts";
import type { DraftedLanes, ResidentDrafter } from "./resident-drafter.ts";

/** How a proposer's drafts are encoded without the host between levels and steps. */
export interface DeviceDrafting {
  /** Names of those who propose into one tree, where they are several. */
  readonly proposers?: readonly string[];
  /** @throws GpuError, RangeError where the proposer was made for fewer lanes */
  create(gpu: GpuContext, lanes: DraftedLanes): Promise<ResidentDrafter>;
}
