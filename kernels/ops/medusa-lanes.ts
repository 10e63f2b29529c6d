import type { Binding } from "../kernel.ts";
import type { OpContext } from "../op.ts";
import { scoreOf } from "./draft-steps.ts";
import { type LaneOp, laneOp } from "./lane-steps.ts";
import type { LaneShape } from "./lanes.ts";
import { numMedusaParents } from "./medusa-paths.ts";

/** Medusa's heads, and where they read and write. */
export interface MedusaLanes {
  readonly lanes: GPUBuffer;
  readonly numHeads: number;
  /** Heads whose rows stand one after the other. */
  readonly headsPerGroup: number;
  /** The target's block tables: lane l's begins l · tableWords words into them. */
  readonly tables: Binding;
  readonly tableWords: number;
  readonly blockSize: number;
  /** u32 [numLanes]: of the target's last features, and the last known tokens. */
  readonly slots: Binding;
  readonly roots: Binding;
  /** SamplingRow [headsPerGroup · numLanes] of each group, `samplingStride` rows apart */
  readonly samplingRows: Binding;
  readonly samplingStride: number;
  /** What `medusaPaths` leaves. */
  readonly children: Binding;
  /** Candidates of each head. */
  readonly topK: number;
}

/** What the heads look at, and how their candidates are drawn (wgsl/medusa_rows.wgsl). */
export function medusaRows(context: OpContext, shape: LaneShape, args: MedusaLanes): Promise<LaneOp> {
  const { lanes, numHeads, headsPerGroup, tables, tableWords, blockSize, slots, roots, samplingRows, samplingStride } =
    args;
  const constants = {
    ...{ NUM_HEADS: numHeads, HEADS_PER_GROUP: headsPerGroup, ROWS_STRIDE: samplingStride },
    ...{ TABLE_WORDS: tableWords, BLOCK_SIZE: blockSize },
  };
  const spec = { shader: ["medusa_rows"], constants };
  return laneOp(
    context,
    shape,
    spec,
    [lanes, tables, slots, roots, samplingRows],
    ({ numLanes }) => numLanes * numHeads,
  );
}

/** What a lane's tree is made of, and in what. */
export interface MedusaTreeArgs extends Pick<MedusaLanes, "lanes" | "numHeads" | "children" | "topK"> {
  /** `medusaLeafBytes` for each lane. */
  readonly leaves: GPUBuffer;
}

/** Each lane's tree from what the heads propose below every node (wgsl/medusa_tree.wgsl). @param shapeChildren as of `DraftRules` */
export function medusaTree(
  context: OpContext,
  shape: LaneShape,
  { lanes, numHeads, children, leaves, topK }: MedusaTreeArgs,
  shapeChildren?: GPUBuffer,
): Promise<LaneOp> {
  const score = scoreOf(shapeChildren, 3);
  const sizes = { NUM_HEADS: numHeads, TOP_K: topK, NUM_PARENTS: numMedusaParents(numHeads, topK) };
  const shader = ["medusa_child", ...score.shaders, "lane_tree", "medusa_tree"];
  const spec = { shader, constants: { ...sizes, ...score.constants } };
  return laneOp(context, shape, spec, [lanes, children, leaves, ...score.bindings], ({ numLanes }) => numLanes);
}

/** Bytes of `leaves` for one lane. */
export function medusaLeafBytes({ maxNodes }: LaneShape): number {
  return 16 * maxNodes;
}
