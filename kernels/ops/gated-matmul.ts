import type { KernelFamily } from "../family.ts";
import type { Op, OpContext } from "../op.ts";
import { type MatmulArgs, matmul, tiledMatmul, tileFor } from "./matmul.ts";
import { matrixSpec } from "./matmul-matrix.ts";
import type { Activation, Product } from "./product.ts";
import { siluMul } from "./silu-mul.ts";

export interface GatedMatmulArgs extends MatmulArgs {
  /** [numRows, 2 · x.numInputs], gates first */
  readonly gateUp: Product;
}

/** Rows that one matrix holds: a tile of more never has its inputs made in the product's kernel. */
const MATRIX_ROWS = 16;

/**
 * Bytes of partial sums that the workgroups of a product load at most, all together, where they make its inputs themselves, counted as
 * tiles of 8 rows load them. They come from the device's cache, and more would take longer than the dispatch that is saved
 * (`npm run bench -- gated`). Tiles of 16 have half as many workgroups, so that 16 rows load no more than 8 do; but each makes the inputs
 * of twice the rows, and against one row 16 lost 1.3 to 2.6 times what 8 lost: the count goes by rows, not by tiles.
 */
const MAX_GATED_BYTES = 16e6;

/**
 * y = (silu(gate) · up) · Wᵀ. Of few rows, the matrix family's product makes its inputs itself, which saves a dispatch, and x is not
 * written; else they are made once and lie in x. Which way was taken never shows in a row's bits. Shapes are those of `siluMul` and
 * `matmul`.
 * @param maxRows of a pass whose product makes its inputs itself, where the family has kernels for so many
 */
export async function gatedMatmul(
  context: OpContext,
  args: GatedMatmulArgs,
  maxRows = maxGatedRows(context.family, args),
): Promise<Op> {
  const most = Math.min(maxRows, gatedTiles(context.family).at(-1) ?? 0);
  const [gate, product, gatedProduct] = await Promise.all([
    siluMul(context, { gateUp: args.gateUp, out: args.x }),
    matmul(context, args),
    most > 0 ? matmulOfGated(context, args, most) : undefined,
  ]);
  return (pass, size) => {
    if (gatedProduct && size.numRows <= most) return gatedProduct(pass, size);
    gate(pass, size);
    product(pass, size);
  };
}

/** The product of at most `maxRows` rows that makes its inputs itself. */
function matmulOfGated(context: OpContext, { weights, gateUp, x, y }: GatedMatmulArgs, maxRows: number): Promise<Op> {
  const { format } = weights;
  return tiledMatmul(
    context,
    { weights, x: { ...x, buffer: gateUp.buffer }, y },
    gatedTiles(context.family, maxRows),
    (part, tile) => matrixSpec({ format, x, y, part, gateUp }, tile),
    ({ numRows }) => numRows,
  );
}

/** What `maxGatedRows` looks at. */
interface GatedSizes {
  readonly gateUp: Pick<Product, "numRanges">;
  readonly x: Pick<Activation, "numInputs">;
  readonly y: Pick<Product, "numOutputs">;
}

/**
 * Rows of a pass up to which a product had better make its inputs itself. Each of its workgroups, of 16 outputs in tiles of 8 rows, makes
 * those of its range again, and reads every range of both partial sums for it.
 */
export function maxGatedRows(family: KernelFamily, { gateUp, x, y }: GatedSizes): number {
  const rowBytes = (y.numOutputs / 16) * 2 * x.numInputs * 4 * gateUp.numRanges;
  return Math.min(gatedTiles(family).at(-1) ?? 0, Math.floor(MAX_GATED_BYTES / rowBytes));
}

/** Tiles whose product can make its inputs itself. @param maxRows of a pass whose product does */
export function gatedTiles(
  { name, rowTiles, siluApart }: KernelFamily,
  maxRows = Number.POSITIVE_INFINITY,
): readonly number[] {
  if (name !== "matrix" || siluApart || maxRows === 0) return [];
  const tiles = rowTiles.filter((tile) => tile <= MATRIX_ROWS);
  const largest = tileFor(tiles, maxRows);
  return tiles.filter((tile) => tile <= largest);
}
