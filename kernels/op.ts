import type { KernelFamily } from "./family.ts";
import type { Binding, KernelSpec, Kernels } from "./kernel.ts";

/** Where ops come from: a device's compiled kernels and its family. */
export interface OpContext {
  readonly kernels: Kernels;
  readonly family: KernelFamily;
}

/** What changes from pass to pass; everything else is fixed when an op is made. */
export interface PassSize {
  /** Rows of the pass: prompt tokens, plain decodes and tree nodes. */
  readonly numRows: number;
  /** Attention splits of the longest row. */
  readonly numSplits: number;
  /** Rows whose logits are wanted. */
  readonly numLogits: number;
}

/** One kernel call with its buffers bound, or a few in turn. Encoding does no allocation on the GPU. */
export type Op<Size = PassSize> = (pass: GPUComputePassEncoder, size: Size) => void;

/** Several ops in turn, as one. */
export async function inTurn<Size>(ops: readonly Promise<Op<Size>>[]): Promise<Op<Size>> {
  const all = await Promise.all(ops);
  return (pass, size) => {
    for (const op of all) op(pass, size);
  };
}

/** Workgroups of one dimension that every WebGPU device can dispatch. */
const MAX_GROUPS = 65_535;

/**
 * Makes an op of one kernel whose grid is one-dimensional: `threads(size)` threads in groups of `workgroupSize`. The kernel
 * asks `thread_index` for its place, since long grids are folded (wgsl/thread_index.wgsl).
 */
export async function threadsOp<Size extends PassSize = PassSize>(
  context: OpContext,
  spec: KernelSpec,
  buffers: readonly Binding[],
  workgroupSize: number,
  threads: (size: Size) => number,
  immediates: (size: Size) => readonly number[] = (size) => [size.numRows],
): Promise<Op<Size>> {
  const folded = {
    ...spec,
    shader: ["thread_index", ...spec.shader],
    constants: { ...spec.constants, GRID_WIDTH: MAX_GROUPS * workgroupSize },
  };
  const kernel = await context.kernels.bind(folded, buffers);
  const words = new Uint32Array(Math.max(1, spec.numImmediates));
  return (pass, size) => {
    words.set(immediates(size));
    const numGroups = Math.ceil(threads(size) / workgroupSize);
    kernel.dispatch(pass, [Math.min(numGroups, MAX_GROUPS), Math.ceil(numGroups / MAX_GROUPS), 1], words);
  };
}
