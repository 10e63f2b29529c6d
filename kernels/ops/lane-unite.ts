import type { OpContext } from "../op.ts";
import { type LaneOp, laneOp } from "./lane-steps.ts";
import type { LaneShape } from "./lanes.ts";

/** Takes in the trees of drafter `member` of several; after the last one each lane has the best nodes of all (wgsl/lane_unite.wgsl). */
export function laneUnite(
  context: OpContext,
  shape: LaneShape,
  buffers: { readonly lanes: GPUBuffer; readonly unions: GPUBuffer },
  { member, numMembers }: { readonly member: number; readonly numMembers: number },
): Promise<LaneOp> {
  const spec = {
    shader: ["lane_tree", "best_nodes", "lane_unite"],
    constants: { MEMBER: member, NUM_MEMBERS: numMembers },
  };
  return laneOp(context, shape, spec, [buffers.lanes, buffers.unions], ({ numLanes }) => numLanes);
}

/** Bytes of `unions` for one lane. */
export function laneUnionBytes({ maxNodes }: LaneShape, numMembers: number): number {
  return 4 * (1 + 6 * (1 + numMembers * (maxNodes - 1)));
}
