import type { KernelFamily } from "../family.ts";
import type { Binding, Grid, KernelSpec } from "../kernel.ts";
import type { Op, OpContext, PassSize } from "../op.ts";
import { type MatrixPart, PANEL, type PackedMatrix, type WeightFormat } from "../weights/packed-matrix.ts";
import { matrixGrid, matrixSpec } from "./matmul-matrix.ts";
import type { Activation, Product } from "./product.ts";

const SUBGROUP_WORKGROUP = 128;
/** Outputs of a workgroup, by fours: each subgroup makes four in a turn, so that 128 threads take two turns with subgroups of 32. */
const QUADS_PER_GROUP = 8;
const PORTABLE_WORKGROUP = 16;
/** Word of the portable kernels' immediates: see matmul_sizes.wgsl. */
const FIRST_ROW = 5;

export interface MatmulArgs {
  readonly weights: PackedMatrix;
  readonly x: Activation;
  readonly y: Product;
}

/**
 * y = x · Wᵀ of `rows(size)` rows, in tiles of rows whose choice never shows in a row's result. Shapes are those of x and y, and
 * `weights` were uploaded for them.
 */
export async function matmul(
  context: OpContext,
  args: MatmulArgs,
  rows: (size: PassSize) => number = (size) => size.numRows,
): Promise<Op> {
  const { family } = context;
  const { weights, x, y } = args;
  const specOf = (part: MatrixPart, tile: number) => matmulSpec(family, weights.format, { x, y, part }, tile);
  return tiledMatmul(context, args, family.rowTiles, specOf, rows);
}

/**
 * The product by a kernel for each part of the weights and each of `rowTiles`: parts have outputs of their own, so their order does
 * not matter.
 * @param args x.buffer is what the kernels make their inputs from
 */
export async function tiledMatmul(
  { kernels, family }: OpContext,
  { weights, x, y }: MatmulArgs,
  rowTiles: readonly number[],
  specOf: (part: MatrixPart, tile: number) => KernelSpec,
  rows: (size: PassSize) => number,
): Promise<Op> {
  const parts = await Promise.all(
    weights.parts.map(async (part) => {
      const bindings: Binding[] = [part.values, x.buffer, y.buffer, ...(part.scales ? [part.scales] : [])];
      const bound = rowTiles.map(async (tile) => [tile, await kernels.bind(specOf(part, tile), bindings)] as const);
      return { part, tiles: new Map(await Promise.all(bound)), words: immediatesOf(x, y, part) };
    }),
  );
  const runsOf = family.name === "portable" ? tileRuns : oneRun;
  return (pass, size) => {
    const numRows = rows(size);
    for (const run of runsOf(rowTiles, numRows)) {
      for (const { part, tiles, words } of parts) {
        words[0] = numRows;
        words[FIRST_ROW] = run.firstRow;
        tiles.get(run.tile)?.dispatch(pass, matmulGrid(family, y, part, run), words);
      }
    }
  };
}

/** The product for tiles of `rows` rows (one of the family's `rowTiles`). */
function matmulSpec(
  family: KernelFamily,
  format: WeightFormat,
  { x, y, part }: Pick<MatmulArgs, "x" | "y"> & { readonly part: MatrixPart },
  rows: number,
): KernelSpec {
  if (family.name === "matrix") return matrixSpec({ format, x, y, part }, rows);
  if (family.name === "portable") {
    return {
      shader: ["matmul_step", "matmul_sizes", "matmul_rows_store", rows === 1 ? "matmul_rows1" : "matmul_rows"],
      constants: { PANEL, WORKGROUP_SIZE: PORTABLE_WORKGROUP, ...(rows === 1 ? {} : { ROWS: rows }) },
      enables: rows === 1 ? [] : ["subgroups"],
      numImmediates: 6,
    };
  }
  return {
    shader: ["matmul_step", `weights_${format}_rows`, "matmul_subgroup"],
    constants: {
      ...{ NUM_INPUTS: x.numInputs, NUM_OUTPUTS: part.numOutputs },
      ...{ FIRST_OUTPUT: part.firstOutput, Y_OUTPUTS: y.numOutputs },
      ...{ WORKGROUP_SIZE: SUBGROUP_WORKGROUP, QUADS_PER_GROUP, ROWS: rows },
    },
    enables: ["subgroups"],
    numImmediates: 1,
  };
}

/** All rows and the first one, which each dispatch sets, and the other sizes of matmul_sizes.wgsl, which the other families have as constants. */
function immediatesOf(x: Activation, y: Product, part: MatrixPart): Uint32Array<ArrayBuffer> {
  return Uint32Array.of(0, x.numInputs / 4, part.numOutputs / 4, y.numOutputs / 4, part.firstOutput / 4, 0);
}

function matmulGrid(family: KernelFamily, y: Product, part: MatrixPart, { tile, numRows }: TileRun): Grid {
  if (family.name === "matrix") return matrixGrid(y, part, tile, numRows);
  const outputsPerGroup = 4 * (family.name === "portable" ? PORTABLE_WORKGROUP : QUADS_PER_GROUP);
  return [Math.ceil(part.numOutputs / outputsPerGroup), Math.ceil(numRows / tile), 1];
}

/** Rows that one dispatch makes, in tiles of so many. */
export interface TileRun {
  readonly tile: number;
  readonly firstRow: number;
  readonly numRows: number;
}

/** The tile that serves `numRows` rows with the fewest passes over the weights and the least waste. */
export function tileFor(rowTiles: readonly number[], numRows: number): number {
  return rowTiles.find((rows) => rows >= numRows) ?? rowTiles.at(-1) ?? 1;
}

function oneRun(rowTiles: readonly number[], numRows: number): readonly TileRun[] {
  return [{ tile: tileFor(rowTiles, numRows), firstRow: 0, numRows }];
}

/**
 * Rows past the last whole tile by a smaller one, where that holds them: where arithmetic takes the time and not the weights' way to it,
 * a tile's empty rows cost as much as others.
 */
export function tileRuns(rowTiles: readonly number[], numRows: number): readonly TileRun[] {
  const largest = rowTiles.at(-1) ?? 1;
  const rest = numRows % largest;
  const tile = tileFor(rowTiles, rest);
  if (numRows < largest || rest === 0 || tile === largest) return oneRun(rowTiles, numRows);
  const firstRow = numRows - rest;
  return [
    { tile: largest, firstRow: 0, numRows: firstRow },
    { tile, firstRow, numRows: rest },
  ];
}
