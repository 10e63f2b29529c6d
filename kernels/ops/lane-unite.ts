import type { OpContext } from "../op.ts";
import { scoreOf } from "./draft-steps.ts";
import { type LaneOp, laneGroupOp } from "./lane-steps.ts";
import type { LaneShape } from "./lanes.ts";

/** The shape of all trees: u32 [maxNodes, topK], the child of each node and rank, 0 where there is none. */
export interface UnionShape {
  readonly children: GPUBuffer;
  readonly topK: number;
}

/**
 * Takes in the trees of drafter `member` of several; after the last one each lane has the best nodes of all (wgsl/lane_unite.wgsl).
 * @param given a shape that the trees are to have
 */
export function laneUnite(
  context: OpContext,
  shape: LaneShape,
  buffers: { readonly lanes: GPUBuffer; readonly unions: GPUBuffer },
  { member, numMembers }: { readonly member: number; readonly numMembers: number },
  given?: UnionShape,
): Promise<LaneOp> {
  const score = scoreOf(given?.children, 2);
  const shader = given ? [...score.shaders, "lane_unite_shape"] : ["lane_unite_any"];
  const topK = given ? { TOP_K: given.topK } : {};
  const spec = {
    shader: ["order_bits", "lane_tree", ...shader, "lane_unite"],
    constants: { MEMBER: member, NUM_MEMBERS: numMembers, ...topK, ...score.constants },
  };
  const bindings = [buffers.lanes, buffers.unions, ...score.bindings];
  return laneGroupOp(context, shape, spec, bindings);
}

/** Bytes of `unions` for one lane. */
export function laneUnionBytes({ maxNodes }: LaneShape, numMembers: number): number {
  return 4 * (2 + maxNodes + 8 * (1 + numMembers * (maxNodes - 1)));
}
