import { toHalf } from "../f16.ts";
import type { KernelFamily } from "../family.ts";
import type { Binding, Grid, KernelSpec } from "../kernel.ts";
import type { Op, OpContext, PassSize } from "../op.ts";

/** A weight matrix: y = x · Wᵀ, W of `numOutputs` rows and `numInputs` columns, both multiples of 4. */
export interface MatmulShape {
  readonly numInputs: number;
  readonly numOutputs: number;
}

const SUBGROUP_WORKGROUP = 128;
/** 128 threads hold 4 subgroups of 32; wider ones take fewer turns, narrower ones share the work in the same order. */
const OUTPUTS_PER_GROUP = 32;
const PORTABLE_WORKGROUP = 16;
/** Threads, of 4 outputs each, whose weights lie side by side: one subgroup of a software adapter. */
const PANEL = 4;

/** The product for tiles of `rows` rows (one of the family's `rowTiles`). `accumulate` adds to y instead of replacing it. */
export function matmulSpec(family: KernelFamily, shape: MatmulShape, rows: number, accumulate: boolean): KernelSpec {
  const common = { NUM_INPUTS: shape.numInputs, NUM_OUTPUTS: shape.numOutputs, ACCUMULATE: accumulate ? 1 : 0 };
  if (family.name === "portable") {
    return {
      shader: ["matmul_step", `matmul_rows${rows}`],
      constants: { ...common, PANEL, WORKGROUP_SIZE: PORTABLE_WORKGROUP },
      enables: rows === 1 ? [] : ["subgroups"],
      numImmediates: 1,
    };
  }
  return {
    shader: ["matmul_subgroup"],
    constants: {
      ...common,
      weight_t: family.storage,
      WORKGROUP_SIZE: SUBGROUP_WORKGROUP,
      OUTPUTS_PER_GROUP,
      ROWS: rows,
    },
    enables: family.storage === "f16" ? ["subgroups", "f16"] : ["subgroups"],
    numImmediates: 1,
  };
}

/** Grid for `numRows` rows in tiles of `rows`. */
export function matmulGrid(family: KernelFamily, shape: MatmulShape, rows: number, numRows: number): Grid {
  const outputsPerGroup = family.name === "portable" ? PORTABLE_WORKGROUP * 4 : OUTPUTS_PER_GROUP;
  return [Math.ceil(shape.numOutputs / outputsPerGroup), Math.ceil(numRows / rows), 1];
}

/**
 * y = x · Wᵀ, or y += x · Wᵀ with `accumulate`. `weights` as `packWeights` lays them out; x f32 [rows, numInputs],
 * y f32 [rows, numOutputs]; `rows(size)` rows in tiles, whose choice never shows in a row's result.
 */
export async function matmul(
  context: OpContext,
  args: { shape: MatmulShape; weights: Binding; x: GPUBuffer; y: GPUBuffer; accumulate?: boolean },
  rows: (size: PassSize) => number = (size) => size.numRows,
): Promise<Op> {
  const { family, kernels } = context;
  const { shape, weights, x, y, accumulate = false } = args;
  const tiles = new Map(
    await Promise.all(
      family.rowTiles.map(
        async (tile) =>
          [tile, await kernels.bind(matmulSpec(family, shape, tile, accumulate), [weights, x, y])] as const,
      ),
    ),
  );
  const words = new Uint32Array(1);
  return (pass, size) => {
    const numRows = rows(size);
    const tile = tileFor(family.rowTiles, numRows);
    words[0] = numRows;
    tiles.get(tile)?.dispatch(pass, matmulGrid(family, shape, tile, numRows), words);
  };
}

/** The tile that serves `numRows` rows with the fewest passes over the weights and the least waste. */
export function tileFor(rowTiles: readonly number[], numRows: number): number {
  return rowTiles.find((rows) => rows >= numRows) ?? rowTiles.at(-1) ?? 1;
}

/** Lays out weights f32 [numOutputs, numInputs] as the family's kernels read them. */
export function packWeights(
  family: KernelFamily,
  shape: MatmulShape,
  weights: Float32Array,
): Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  if (family.name === "portable") return toPanels(weights, shape);
  return family.storage === "f16" ? toHalf(weights) : new Float32Array(weights);
}

/** f32 [numOutputs, numInputs] → [⌈numOutputs / width⌉, numInputs, width], zero where there is no such output. */
function toPanels(matrix: Float32Array, { numInputs, numOutputs }: MatmulShape): Float32Array<ArrayBuffer> {
  const width = 4 * PANEL;
  const out = new Float32Array(Math.ceil(numOutputs / width) * width * numInputs);
  for (let row = 0; row < numOutputs; row++) {
    const to = Math.floor(row / width) * width * numInputs + (row % width);
    for (let k = 0; k < numInputs; k++) out[to + k * width] = matrix[row * numInputs + k] ?? 0;
  }
  return out;
}
