import type { Binding, KernelSpec } from "../kernel.ts";
import type { Op, OpContext } from "../op.ts";
import type { AttentionTensors, MatrixTile, RowTile } from "./attention-types.ts";

/** Splits are whole segments of the kernel (wgsl/attention_matrix_entries.wgsl, SEGMENT). */
export const MATRIX_SPLIT_UNIT = 128;
/** What a subgroup's sums have room for. */
export const MATRIX_MAX_HEAD_DIM = 256;

/** 8 subgroups of 32 threads; a family is a matrix family only where subgroups are so large. */
const WORKGROUP_SIZE = 256;

/**
 * Workgroups that keep a GPU busy. Large tiles load keys and values less often, but a pass that does not fill the device with them is
 * done sooner by more workgroups with fewer rows each, and so fewer sequences and paths.
 */
const BUSY_GROUPS = 128;

type TileRows = NonNullable<MatrixTile["tileRows"]>;

/** The parts of attention by subgroup matrices (wgsl/attention_matrix.wgsl), in tiles as large as the pass makes worthwhile. */
export async function matrixOp(
  context: OpContext,
  kernel: MatrixTile,
  tensors: AttentionTensors,
  spec: KernelSpec,
  bindings: readonly Binding[],
  immediates: (tile: RowTile) => readonly number[],
): Promise<Op<RowTile>> {
  const { numHeads, numKvHeads, headDim } = tensors;
  const group = numHeads / numKvHeads;
  // Workgroup memory holds 32 rows of at most 128 dimensions.
  const heights: readonly TileRows[] = headDim > 128 ? [16] : kernel.tileRows ? [kernel.tileRows] : [16, 32];
  const kernels = await Promise.all(
    heights.map(async (rows) => ({
      rows,
      kernel: await context.kernels.bind(tileSpec(spec, tensors, rows), bindings),
    })),
  );
  const words = new Uint32Array(spec.numImmediates);
  return (pass, size) => {
    const numItems = size.numRows * group;
    const share = Math.ceil((numItems * numKvHeads * size.numSplits) / BUSY_GROUPS);
    const wanted = kernel.tileRows ?? Math.max(Math.min(group, 16), share);
    const tile = kernels.find(({ rows }) => wanted <= rows) ?? kernels.at(-1);
    if (tile === undefined) return;
    words.set(immediates(size));
    tile.kernel.dispatch(pass, [Math.ceil(numItems / Math.min(wanted, tile.rows)), numKvHeads, size.numSplits], words);
  };
}

function tileSpec(spec: KernelSpec, { treeBuffers }: AttentionTensors, rows: TileRows): KernelSpec {
  return {
    ...spec,
    shader: [
      ...spec.shader,
      treeBuffers ? "attention_keys_matrix_tree" : "attention_keys_matrix",
      "attention_matrix_entries",
      "attention_matrix_operands",
      "attention_matrix",
    ],
    constants: { ...spec.constants, ROWS: rows, WORKGROUP_SIZE },
    enables: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
  };
}
