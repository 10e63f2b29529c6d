import type { Binding, KernelSpec } from "../kernel.ts";
import type { Op, OpContext, PassSize } from "../op.ts";
import type { AttentionTensors, MatrixTile } from "./attention-types.ts";

/** Threads of a subgroup; a family has matrix attention only where they are this many. */
const SUBGROUP = 32;

type TileRows = 16 | 32 | 64;

/**
 * Parts of the longest row: its splits and one part for its tail, or 1 where all of it is done in one.
 * @param maxHead at least the longest head of a row (attention_rows.wgsl, head_keys)
 */
export function matrixSplits(splitSize: number, maxHead: number): number {
  const numSplits = Math.ceil((Math.floor(maxHead / 16) * 16) / splitSize);
  return numSplits <= 1 ? 1 : numSplits + 1;
}

/** The parts of attention by subgroup matrices (wgsl/attention_matrix.wgsl), in tiles as tall as the pass makes worthwhile. */
export async function matrixOp(
  context: OpContext,
  kernel: MatrixTile,
  tensors: AttentionTensors,
  spec: KernelSpec,
  bindings: readonly Binding[],
  immediates: (size: PassSize) => readonly number[],
): Promise<Op> {
  const { numHeads, numKvHeads, headDim } = tensors;
  // A tile of 64 queries of 256 dimensions would not fit workgroup memory.
  const heights: readonly TileRows[] = kernel.tileRows ? [kernel.tileRows] : headDim > 128 ? [16, 32] : [16, 64];
  const kernels = await Promise.all(
    heights.map(async (rows) => ({
      rows,
      kernel: await context.kernels.bind(tileSpec(spec, tensors, rows), bindings),
    })),
  );
  const words = new Uint32Array(spec.numImmediates);
  return (pass, size) => {
    const numItems = size.numRows * (numHeads / numKvHeads);
    const tall = kernels.findLast(({ rows }) => size.numSplits > 1 && rows <= numItems) ?? kernels[0];
    words.set(immediates(size));
    tall?.kernel.dispatch(pass, [Math.ceil(numItems / tall.rows), numKvHeads, size.numSplits], words);
  };
}

function tileSpec(spec: KernelSpec, { treeBuffers }: AttentionTensors, rows: TileRows): KernelSpec {
  const warpRows = rows === 16 ? 1 : 2;
  const numWarps = (4 * rows) / 16 / warpRows;
  return {
    ...spec,
    shader: [
      ...spec.shader,
      treeBuffers ? "attention_keys_matrix_tree" : "attention_keys_matrix",
      "attention_matrix_tail",
      "attention_matrix",
    ],
    constants: { ...spec.constants, ROWS: rows, WARP_ROWS: warpRows, WORKGROUP_SIZE: numWarps * SUBGROUP },
    enables: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
  };
}
