import type { Grid, KernelSpec } from "../kernel.ts";
import type { MatrixPart, WeightFormat } from "../weights/packed-matrix.ts";
import { type Activation, MATRIX_TILE, type Product, productReader } from "./product.ts";

/** Rows of one matrix multiply, and of how many 16 outputs a workgroup makes: more rows pay for loading more weights at once. */
function division(rows: number): { tokens: number; features: number } {
  return rows === 8 ? { tokens: 8, features: 1 } : { tokens: 16, features: 2 };
}

export interface MatrixProduct {
  readonly format: WeightFormat;
  readonly x: Omit<Activation, "buffer">;
  readonly y: Product;
  readonly part: MatrixPart;
  /** Makes x in the kernel itself, as `siluMul` would from this: for tiles of one matrix's rows, 8 or 16. */
  readonly gateUp?: Product;
}

/** The product of the matrix family for tiles of `rows` rows: 8, or a multiple of 16. */
export function matrixSpec({ format, x, y, part, gateUp }: MatrixProduct, rows: number): KernelSpec {
  const { tokens, features } = division(rows);
  const numInputTiles = Math.ceil(x.numInputs / MATRIX_TILE.inputs);
  const reader = gateUp && productReader(gateUp);
  const inputs = reader
    ? [...reader.shader, "silu", "gated", "activation_halves", "matmul_inputs_gated"]
    : ["matmul_inputs_stored"];
  return {
    shader: ["weights_staged", `weights_${format}_tiles`, ...inputs, "matmul_matrix"],
    constants: {
      ...{ FEATURES: features, TOKENS: tokens, COLUMNS: rows / tokens },
      SUBGROUP_SIZE: 32,
      ...{ X_ROWS: x.maxRows, Y_OUTPUTS: y.numOutputs, FIRST_OUTPUT: part.firstOutput },
      ...{ INPUT_TILES: numInputTiles, TILES_PER_RANGE: numInputTiles / y.numRanges },
      ...(reader ? { SIZE: x.numInputs, ...reader.constants } : {}),
    },
    enables: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
    numImmediates: reader ? 1 : 0,
  };
}

export function matrixGrid(y: Product, part: MatrixPart, rows: number, numRows: number): Grid {
  return [part.numOutputs / (16 * division(rows).features), y.numRanges, Math.ceil(numRows / rows)];
}
