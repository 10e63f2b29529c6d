import type { Binding, KernelSpec } from "../kernel.ts";
import type { OpContext } from "../op.ts";
import type { LaneShape } from "./lanes.ts";

/** What changes from step to step of the kernels that run lanes; each reads what it needs, and takes what is absent for 0. */
export interface LaneParams {
  readonly numLanes: number;
  /** Nodes of a tree at most, root included; of `draftCatchUp`, a lane's rows in the drafter's pass, at most maxRecent. */
  readonly numNodes: number;
  /** Of a draft: depth of the nodes that were drawn last. */
  readonly level?: number;
  /** Of a verify pass: numLanes · numNodes, or fewer where trees share a budget (`laneBudget`). */
  readonly numRows?: number;
  /** Of a draft: nodes that a level expands, below its root. */
  readonly numExpanded?: number;
}

/** One kernel call over lanes, with its buffers bound. */
export type LaneOp = (pass: GPUComputePassEncoder, params: LaneParams) => void;

/** Where the arrays of a pass lie in one buffer of u32, in bytes. */
export interface BatchSections {
  readonly tokenIds: number;
  readonly slots: number;
  readonly rowInfo: number;
  readonly logitRows: number;
  readonly samplingRows: number;
  readonly tables: number;
}

/** A batch's buffer, and how lanes use its tables. */
export interface LaneBatch extends BatchSections {
  readonly buffer: GPUBuffer;
  /** Words of a lane's block table: lane l's begins l times as far into the tables. */
  readonly tableWords: number;
  /** Words into the tables where lists of path slots begin. */
  readonly paths: number;
  /** Words of such a list. */
  readonly maxPath: number;
  readonly blockSize: number;
}

/** Threads of a workgroup, one that GPUs run in lockstep; of one that is alone with a large tree. */
const WORKGROUP_SIZE = 32;
const LARGE_WORKGROUP_SIZE = 256;
/** Nodes or candidates for which the smaller size is enough. */
const MAX_SMALL_ITEMS = 64;

/** Gives the rows of a verify pass to the best nodes of all lanes' trees, at most maxLanes (wgsl/lane_budget.wgsl). */
export function laneBudget(context: OpContext, shape: LaneShape, lanes: GPUBuffer, maxLanes: number): Promise<LaneOp> {
  const spec = { shader: ["order_bits", "lane_budget"], constants: { MAX_LANES: maxLanes } };
  return laneOp(context, shape, spec, [lanes], () => 1, workgroupSizeFor(maxLanes * shape.maxNodes));
}

/** Rows of a verify pass from lanes and their trees (wgsl/lane_rows.wgsl). */
export function laneRows(context: OpContext, shape: LaneShape, lanes: GPUBuffer, batch: LaneBatch): Promise<LaneOp> {
  const spec = { shader: ["lane_batch", "lane_rows"], constants: batchConstants(batch) };
  return laneOp(context, shape, spec, [lanes, batch.buffer], ({ numRows = 0 }) => numRows);
}

/** Walks each lane's tree and advances the lane (wgsl/lane_walk.wgsl). `moves`: vec2u [numLanes, maxRecent − 1]. */
export function laneWalk(
  context: OpContext,
  shape: LaneShape,
  args: { lanes: GPUBuffer; drawn: Binding; tables: Binding; moves: GPUBuffer; tableWords: number; blockSize: number },
): Promise<LaneOp> {
  const { lanes, drawn, tables, moves, tableWords, blockSize } = args;
  const spec = { shader: ["lane_walk"], constants: { TABLE_WORDS: tableWords, BLOCK_SIZE: blockSize } };
  return laneGroupOp(context, shape, spec, [lanes, drawn, tables, moves]);
}

/** Where kernels find the sections of a batch, and the tables in it. */
export function batchConstants(batch: LaneBatch) {
  return {
    TOKEN_IDS: batch.tokenIds / 4,
    SLOTS: batch.slots / 4,
    ROW_INFO: batch.rowInfo / 4,
    LOGIT_ROWS: batch.logitRows / 4,
    SAMPLING_ROWS: batch.samplingRows / 4,
    TABLES: batch.tables / 4,
    TABLE_WORDS: batch.tableWords,
    PATHS: batch.paths,
    MAX_PATH: batch.maxPath,
    BLOCK_SIZE: batch.blockSize,
  };
}

/** A kernel that has a workgroup for each lane. @param numItems that it goes through beside a tree's nodes */
export function laneGroupOp(
  context: OpContext,
  shape: LaneShape,
  spec: Pick<KernelSpec, "shader" | "constants">,
  buffers: readonly Binding[],
  numItems = 0,
): Promise<LaneOp> {
  const workgroupSize = workgroupSizeFor(Math.max(shape.maxNodes, numItems));
  return laneOp(context, shape, spec, buffers, ({ numLanes }) => numLanes * workgroupSize, workgroupSize);
}

/** Of a workgroup that goes through so much. */
export function workgroupSizeFor(numItems: number): number {
  return numItems <= MAX_SMALL_ITEMS ? WORKGROUP_SIZE : LARGE_WORKGROUP_SIZE;
}

/** @param numThreads that the kernel has at least */
export async function laneOp(
  context: OpContext,
  shape: LaneShape,
  { shader, constants }: Pick<KernelSpec, "shader" | "constants">,
  buffers: readonly Binding[],
  numThreads: (params: LaneParams) => number,
  workgroupSize = WORKGROUP_SIZE,
): Promise<LaneOp> {
  const kernel = await context.kernels.bind(
    {
      shader: ["sampling_params", "lanes", ...shader],
      constants: {
        ...constants,
        MAX_NODES: shape.maxNodes,
        MAX_RECENT: shape.maxRecent,
        WORKGROUP_SIZE: workgroupSize,
      },
      numImmediates: 5,
    },
    buffers,
  );
  const words = new Uint32Array(5);
  return (pass, params) => {
    const { numLanes, numNodes, level = 0, numRows = 0, numExpanded = 0 } = params;
    words.set([numLanes, numNodes, level, numRows, numExpanded]);
    kernel.dispatch(pass, [Math.ceil(numThreads(params) / workgroupSize), 1, 1], words);
  };
}
