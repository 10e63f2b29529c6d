import type { Binding } from "../kernel.ts";
import type { OpContext } from "../op.ts";
import { batchConstants, type LaneBatch, type LaneOp, laneGroupOp, laneOp } from "./lane-steps.ts";
import type { LaneShape } from "./lanes.ts";

/** What a draft pass's rows read of the target beside the text, and where kernels write which row reads what. */
export type TargetReads =
  | { readonly kind: "text" }
  /** Features: `sources` u32 [numRows] (ops/eagle.ts). `tables`: the target's block tables of the lanes. */
  | { readonly kind: "features"; readonly sources: Binding; readonly tables: Binding; readonly tableWords: number }
  /** Keys and values: `rowInfo` u32 [numRows, 4], as of any attention, with the target's tables of the lanes. */
  | { readonly kind: "keys"; readonly rowInfo: Binding; readonly tableWords: number };

/** Fewer candidates of a node where the best one's log share is high: f32 [count, 2] of (highest log share, candidates). */
export interface DraftWidthSteps {
  readonly buffer: GPUBuffer;
  readonly count: number;
}

/** How a drafter grows its trees, level by level. */
export interface DraftRules {
  /** Candidates of a node. */
  readonly topK: number;
  /** Nodes that a level expands at most. */
  readonly numExpanded: number;
  /** The row at position p holds token p + shift. */
  readonly shift: number;
  readonly reads: TargetReads;
  /** Absent: all candidates may become children. */
  readonly widths?: DraftWidthSteps;
  /** Trees have a given shape: u32 [maxNodes, topK], the child of each node and rank, 0 where there is none. Absent: dynamic trees. */
  readonly shapeChildren?: GPUBuffer;
}

/** Draws of a runner, and the pool that a tree's candidates go to. */
export interface DraftBuffers {
  readonly lanes: GPUBuffer;
  /** u32 and f32 [numRows, topK] */
  readonly drawn: Binding;
  readonly logShares: Binding;
  /** `draftPoolBytes` for each lane. */
  readonly pools: GPUBuffer;
}

/** Rows of a drafter's pass over the tokens that the last step emitted: row = lane · numNodes + i. */
export function draftCatchUp(
  context: OpContext,
  shape: LaneShape,
  { reads, shift }: Pick<DraftRules, "reads" | "shift">,
  lanes: GPUBuffer,
  batch: LaneBatch,
): Promise<LaneOp> {
  const constants = { ...batchConstants(batch), ...readConstants(reads, 2), SHIFT: shift };
  const spec = { shader: ["lane_batch", ...readShader(reads), "draft_catch_up"], constants };
  const sources = reads.kind === "features" ? [reads.sources, reads.tables] : readBindings(reads);
  return laneOp(
    context,
    shape,
    spec,
    [lanes, batch.buffer, ...sources],
    ({ numLanes, numNodes }) => numLanes * numNodes,
  );
}

/** Takes in the draws at `level` and writes the rows of the next draft pass: row = lane · params.numExpanded + rank. */
export function draftGrow(
  context: OpContext,
  shape: LaneShape,
  rules: DraftRules,
  { lanes, drawn, logShares, pools }: DraftBuffers,
  batch: LaneBatch,
): Promise<LaneOp> {
  const { reads, shift } = rules;
  const buffers = [lanes, batch.buffer, drawn, logShares, pools, ...readBindings(reads)];
  const choice = choiceOf(rules, buffers.length);
  const constants = {
    ...{ ...poolConstants(shape, rules), ...batchConstants(batch), SHIFT: shift },
    ...{ ...readConstants(reads, 5), ...choice.constants },
  };
  const shader = ["lane_batch", ...readShader(reads), ...choice.shaders, "draft_pool", "draft_grow"];
  return laneGroupOp(context, shape, { shader, constants }, [...buffers, ...choice.bindings], constants.MAX_FRESH);
}

/** Takes in the draws at the deepest level and makes each lane's tree of the best candidates. */
export function draftTree(
  context: OpContext,
  shape: LaneShape,
  rules: DraftRules,
  { lanes, drawn, logShares, pools }: DraftBuffers,
): Promise<LaneOp> {
  const buffers = [lanes, drawn, logShares, pools];
  const choice = choiceOf(rules, buffers.length);
  const constants = { ...poolConstants(shape, rules), ...choice.constants };
  const spec = { shader: [...choice.shaders, "draft_pool", "lane_tree", "draft_tree"], constants };
  return laneGroupOp(context, shape, spec, [...buffers, ...choice.bindings], constants.MAX_FRESH);
}

/** Bytes of one lane's pool. */
export function draftPoolBytes(shape: LaneShape, rules: PoolRules): number {
  const { MAX_FRESH, NUM_EXPANDED } = poolConstants(shape, rules);
  return 4 * (6 * MAX_FRESH + 10 * shape.maxNodes + 2 + 2 * NUM_EXPANDED);
}

type PoolRules = Pick<DraftRules, "topK" | "numExpanded" | "shapeChildren">;

/** Candidates of a level that can have a place in a tree at most, and ids of the nodes that all levels expand. */
function poolConstants({ maxNodes, maxRecent }: LaneShape, { topK, numExpanded, shapeChildren }: PoolRules) {
  const mostDrawn = topK * numExpanded;
  return {
    TOP_K: topK,
    MAX_FRESH: shapeChildren ? Math.min(mostDrawn, maxNodes) : mostDrawn,
    NUM_EXPANDED: 1 + numExpanded * Math.max(0, maxRecent - 2),
  };
}

/** Of rows below the root, which do not look into the target's tables. */
function readBindings(reads: TargetReads): readonly Binding[] {
  if (reads.kind === "text") return [];
  return [reads.kind === "features" ? reads.sources : reads.rowInfo];
}

function readShader({ kind }: TargetReads): readonly string[] {
  return kind === "features" ? ["feature_source", "draft_reads_features"] : [`draft_reads_${kind}`];
}

function readConstants(reads: TargetReads, firstBinding: number): Readonly<Record<string, number>> {
  return reads.kind === "text" ? {} : { READS: firstBinding, TARGET_TABLE_WORDS: reads.tableWords };
}

/** Which candidates may become nodes, and which of them do. */
function choiceOf({ widths, shapeChildren }: DraftRules, binding: number) {
  const score = scoreOf(shapeChildren, binding);
  if (widths === undefined) return { ...score, shaders: ["draft_width_all", ...score.shaders] };
  const at = binding + score.bindings.length;
  return {
    shaders: ["draft_width_cape", ...score.shaders],
    bindings: [...score.bindings, widths.buffer],
    constants: { ...score.constants, WIDTHS: at, NUM_WIDTHS: widths.count },
  };
}

/** By what nodes are chosen (wgsl/draft_score_path.wgsl, draft_score_shape.wgsl). */
export function scoreOf(shapeChildren: GPUBuffer | undefined, binding: number) {
  if (shapeChildren === undefined) return { shaders: ["draft_score_path"], bindings: [], constants: {} };
  return { shaders: ["draft_score_shape"], bindings: [shapeChildren], constants: { SHAPE: binding } };
}
