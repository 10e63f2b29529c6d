import type { Binding, KernelSpec } from "../kernel.ts";
import type { Op, OpContext, PassSize } from "../op.ts";
import type { AttentionTensors, MatrixTile } from "./attention-types.ts";

/** Splits are whole steps of the kernel (wgsl/attention_matrix_steps.wgsl, CHUNK). */
export const MATRIX_SPLIT_UNIT = 32;

/** Threads of a subgroup; a family is a matrix family only where they are this many. */
const SUBGROUP = 32;

type TileRows = NonNullable<MatrixTile["tileRows"]>;

/** Items of a pass from which on tall tiles share enough keys to be worth their waiting for one another. */
const TALL_ITEMS = 64;

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
  // A thread holds 16 vectors of keys at most, and workgroup memory 64 rows of 128 dimensions.
  const heights: readonly TileRows[] = kernel.tileRows ? [kernel.tileRows] : headDim > 128 ? [32] : [16, 64];
  const kernels = await Promise.all(
    heights.map(async (rows) => ({
      rows,
      kernel: await context.kernels.bind(tileSpec(spec, tensors, rows), bindings),
    })),
  );
  const words = new Uint32Array(spec.numImmediates);
  return (pass, size) => {
    const numItems = size.numRows * (numHeads / numKvHeads);
    const tile = (numItems >= TALL_ITEMS ? kernels.at(-1) : kernels[0]) ?? kernels[0];
    words.set(immediates(size));
    tile?.kernel.dispatch(pass, [Math.ceil(numItems / tile.rows), numKvHeads, size.numSplits], words);
  };
}

function tileSpec(spec: KernelSpec, { treeBuffers }: AttentionTensors, rows: TileRows): KernelSpec {
  const numWarps = rows / 16;
  return {
    ...spec,
    shader: [
      ...spec.shader,
      treeBuffers ? "attention_keys_matrix_tree" : "attention_keys_matrix",
      "attention_matrix_steps",
      "attention_matrix",
    ],
    constants: { ...spec.constants, ROWS: rows, WARPS: numWarps, WORKGROUP_SIZE: numWarps * SUBGROUP },
    enables: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
  };
}
