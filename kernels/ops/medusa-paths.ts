import type { Binding } from "../kernel.ts";
import { type Op, type OpContext, threadsOp } from "../op.ts";
import { NO_TOKEN } from "./sampling.ts";

/** Of a workgroup: each has a candidate, or several of a head that has more. */
const MAX_THREADS = 256;

/** Bytes of a `Child` (wgsl/medusa_child.wgsl). */
export const MEDUSA_CHILD_BYTES = 12;

/** What a head proposes below a node. */
export interface MedusaChild {
  readonly tokenId: number;
  /** Log of the estimated probability that it is accepted, given that its parent is; at most 0. */
  readonly logSurvival: number;
  /** Its place among its head's candidates, as the head sees them. */
  readonly rank: number;
}

/** Which tokens go together: for each one its likeliest successors, and how much likelier they are after it. */
export interface SuccessorEntries {
  /**
   * vec2u [numRows, numSuccessors + 1]: token ids, rising, with f32 bits of what is added to a candidate's log share; the last of a
   * row is for all others. Tokens from numRows on have the last row.
   */
  readonly buffer: Binding;
  readonly numRows: number;
  readonly numSuccessors: number;
}

export interface MedusaPathsArgs {
  readonly numHeads: number;
  /** Heads whose rows stand one after the other. */
  readonly headsPerGroup: number;
  /** u32 [numRows]: the tokens that trees begin with. */
  readonly roots: Binding;
  /** Of each group token ids, then log shares: u32 and f32 [headsPerGroup · numRows, topK], `resultStride` values apart. */
  readonly results: Binding;
  readonly resultStride: number;
  readonly successors: SuccessorEntries;
  /** `Child` [numRows, numMedusaParents, topK] */
  readonly children: Binding;
  /** Candidates of each head. */
  readonly topK: number;
}

/** Nodes that may have children: the root, then every candidate of each head but the last. */
export function numMedusaParents(numHeads: number, topK: number): number {
  return 1 + (numHeads - 1) * topK;
}

/** What the heads propose below every node that a tree may have, best first (wgsl/medusa_paths.wgsl). */
export function medusaPaths(context: OpContext, args: MedusaPathsArgs): Promise<Op> {
  const { numHeads, headsPerGroup, roots, results, resultStride, successors, children, topK } = args;
  const numParents = numMedusaParents(numHeads, topK);
  const numThreads = Math.min(topK, MAX_THREADS);
  const constants = {
    ...{ TOP_K: topK, NUM_PARENTS: numParents, HEADS_PER_GROUP: headsPerGroup, RESULT_STRIDE: resultStride },
    ...{ NUM_THREADS: numThreads, TABLE_ROWS: successors.numRows, NUM_SUCCESSORS: successors.numSuccessors },
  };
  return threadsOp(
    context,
    { shader: ["sampling_params", "medusa_child", "medusa_paths"], constants, numImmediates: 1 },
    [roots, results, successors.buffer, children],
    numThreads,
    ({ numRows }) => numRows * numParents * numThreads,
  );
}

/** The children of one parent, best first: as many as there are. @param bytes of a buffer of `medusaPaths` */
export function readMedusaChildren(bytes: ArrayBuffer, parent: number, topK: number): MedusaChild[] {
  const view = new DataView(bytes, parent * topK * MEDUSA_CHILD_BYTES, topK * MEDUSA_CHILD_BYTES);
  const children = Array.from({ length: topK }, (_, i) => ({
    tokenId: view.getUint32(i * MEDUSA_CHILD_BYTES, true),
    logSurvival: view.getFloat32(i * MEDUSA_CHILD_BYTES + 4, true),
    rank: view.getUint32(i * MEDUSA_CHILD_BYTES + 8, true),
  }));
  return children.filter(({ tokenId }) => tokenId !== NO_TOKEN);
}
