import type { Binding } from "../kernel.ts";
import type { OpContext } from "../op.ts";
import { type LaneOp, laneOp } from "./lane-steps.ts";
import type { LaneShape } from "./lanes.ts";

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
  /** u32 [numLanes] */
  readonly slots: Binding;
  /** SamplingRow [headsPerGroup · numLanes] of each group, `samplingStride` rows apart */
  readonly samplingRows: Binding;
  readonly samplingStride: number;
  /** Of each group token ids, then log shares: u32 and f32 [headsPerGroup · numLanes, topK], `resultStride` values apart. */
  readonly results: Binding;
  readonly resultStride: number;
  /** Candidates of each head. */
  readonly topK: number;
}

/** What the heads look at, and how their candidates are drawn (wgsl/medusa_rows.wgsl). */
export function medusaRows(context: OpContext, shape: LaneShape, args: MedusaLanes): Promise<LaneOp> {
  const { lanes, numHeads, headsPerGroup, tables, tableWords, blockSize, slots, samplingRows, samplingStride } = args;
  const constants = {
    ...{ NUM_HEADS: numHeads, HEADS_PER_GROUP: headsPerGroup, ROWS_STRIDE: samplingStride },
    ...{ TABLE_WORDS: tableWords, BLOCK_SIZE: blockSize },
  };
  const spec = { shader: ["medusa_rows"], constants };
  return laneOp(context, shape, spec, [lanes, tables, slots, samplingRows], () => numHeads);
}

/** Each lane's tree from the heads' candidates (wgsl/medusa_tree.wgsl). */
export function medusaTree(
  context: OpContext,
  shape: LaneShape,
  args: Pick<MedusaLanes, "lanes" | "numHeads" | "headsPerGroup" | "results" | "resultStride" | "topK">,
): Promise<LaneOp> {
  const { lanes, numHeads, headsPerGroup, results, resultStride, topK } = args;
  const constants = {
    ...{ NUM_HEADS: numHeads, HEADS_PER_GROUP: headsPerGroup, RESULT_STRIDE: resultStride, TOP_K: topK },
  };
  return laneOp(context, shape, { shader: ["medusa_tree"], constants }, [lanes, results], () => 1);
}
