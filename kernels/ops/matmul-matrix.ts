import type { Grid, KernelSpec } from "../kernel.ts";
import type { MatrixPart, WeightFormat } from "../weights/packed-matrix.ts";
import { type Activation, MATRIX_TILE, type Product } from "./product.ts";

/** Rows of one matrix multiply, and of how many 16 outputs a workgroup makes: more rows pay for loading more weights at once. */
function division(rows: number): { tokens: number; features: number } {
  return rows === 8 ? { tokens: 8, features: 1 } : { tokens: 16, features: 2 };
}

/** The product of the matrix family for tiles of `rows` rows: 8, or a multiple of 16. */
export function matrixSpec(
  format: WeightFormat,
  x: Activation,
  y: Product,
  part: MatrixPart,
  rows: number,
): KernelSpec {
  const { tokens, features } = division(rows);
  const numInputTiles = Math.ceil(x.numInputs / MATRIX_TILE.inputs);
  return {
    shader: ["weights_staged", `weights_${format}_tiles`, "matmul_matrix"],
    constants: {
      ...{ FEATURES: features, TOKENS: tokens, COLUMNS: rows / tokens },
      SUBGROUP_SIZE: 32,
      ...{ X_ROWS: x.maxRows, Y_OUTPUTS: y.numOutputs, FIRST_OUTPUT: part.firstOutput },
      ...{ INPUT_TILES: numInputTiles, TILES_PER_RANGE: numInputTiles / y.numRanges },
    },
    enables: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
    numImmediates: 0,
  };
}

export function matrixGrid(y: Product, part: MatrixPart, rows: number, numRows: number): Grid {
  return [part.numOutputs / (16 * division(rows).features), y.numRanges, Math.ceil(numRows / rows)];
}
