import type { KernelFamily } from "../family.ts";

/** A weight matrix: y = x · Wᵀ, W of `numOutputs` rows and `numInputs` columns, both multiples of 4. */
export interface ProductShape {
  readonly numInputs: number;
  readonly numOutputs: number;
}

/** The input of a product, as the family's kernels write and read it; rows of a pass are its first ones. */
export interface Activation {
  readonly buffer: GPUBuffer;
  /** Rows that the buffer has room for. */
  readonly maxRows: number;
  readonly numInputs: number;
}

/** The output of a product as partial sums f32 [numRanges, maxRows, numOutputs], to be added in ascending order. */
export interface Product {
  readonly buffer: GPUBuffer;
  readonly maxRows: number;
  readonly numOutputs: number;
  readonly numRanges: number;
}

/** Rows and outputs that the largest tile of the matrix family covers: buffers have whole tiles. */
export const MATRIX_TILE = { rows: 64, inputs: 64, outputs: 32 } as const;

/** Workgroups that a product of the matrix family is divided into at least, where its inputs allow: enough to fill a large GPU. */
const MATRIX_WORKGROUPS = 2048;
/** Inputs of one range at most; a longer one would leave a device idle at the end of each product. */
const MAX_RANGE_TILES = 16;

/** `maxRows` of a buffer for `numRows` rows. */
export function paddedRows(family: KernelFamily, numRows: number): number {
  return family.name === "matrix" ? roundUp(numRows, MATRIX_TILE.rows) : numRows;
}

/** Outputs of a product with its padding. */
export function paddedOutputs(family: KernelFamily, numOutputs: number): number {
  return family.name === "matrix" ? roundUp(numOutputs, MATRIX_TILE.outputs) : numOutputs;
}

/** A product among a model's, as `KernelFamily.ranges` names it. */
export function productKey(family: KernelFamily, { numInputs, numOutputs }: ProductShape): string {
  return `${numInputs}x${paddedOutputs(family, numOutputs)}`;
}

/** All numbers of ranges that a product's inputs can be divided into, ascending. */
export function possibleRanges(family: KernelFamily, { numInputs }: ProductShape): readonly number[] {
  if (family.name !== "matrix") return [1];
  const numTiles = Math.ceil(numInputs / MATRIX_TILE.inputs);
  return Array.from({ length: numTiles }, (_, i) => i + 1).filter((ranges) => numTiles % ranges === 0);
}

/**
 * Ranges that a product's inputs are divided into: what was measured for its shape, else the fewest that fill a large GPU.
 * It is part of the arithmetic, so it never depends on the number of rows.
 * @param whole the consumer cannot add ranges: one for all inputs
 */
export function numRanges(family: KernelFamily, shape: ProductShape, whole = false): number {
  if (family.name !== "matrix" || whole) return 1;
  const measured = family.ranges?.[productKey(family, shape)];
  if (measured !== undefined) return measured;
  const possible = possibleRanges(family, shape);
  const numTiles = possible.at(-1) ?? 1;
  const groups = paddedOutputs(family, shape.numOutputs) / 16;
  const fits = (ranges: number) => numTiles / ranges <= MAX_RANGE_TILES && groups * ranges >= MATRIX_WORKGROUPS;
  return possible.find(fits) ?? numTiles;
}

/** f32 or f16 bytes of an activation. */
export function activationBytes(family: KernelFamily, maxRows: number, numInputs: number): number {
  return family.name === "matrix" ? 2 * maxRows * roundUp(numInputs, MATRIX_TILE.inputs) : 4 * maxRows * numInputs;
}

/** What a kernel needs to read a product: the file product_sum and its constants; the kernel itself binds `parts`. */
export function productReader({ maxRows, numOutputs, numRanges }: Product) {
  return {
    shader: ["product_sum"],
    constants: { PART_ROWS: maxRows, PART_COLUMNS: numOutputs / 4, NUM_RANGES: numRanges },
  } as const;
}

/** What a kernel needs to write an activation: the family's files and their constants; the kernel itself binds `x`. */
export function activationWriter({ name }: KernelFamily, { maxRows, numInputs }: Omit<Activation, "buffer">) {
  const matrix = name === "matrix";
  return {
    shader: matrix ? (["activation_halves", "activation_tiles"] as const) : (["activation_rows"] as const),
    constants: { x_t: matrix ? "f16" : "f32", X_COLUMNS: numInputs / 4, ...(matrix ? { X_ROWS: maxRows } : {}) },
    enables: matrix ? (["f16"] as const) : [],
  } as const;
}

export function roundUp(count: number, multiple: number): number {
  return Math.ceil(count / multiple) * multiple;
}
