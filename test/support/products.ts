import {
  type Activation,
  activationBytes,
  fromHalf,
  type GpuContext,
  type Product,
  type ProductShape,
  paddedRows,
  toHalf,
} from "../../kernels/index.ts";
import { readF32 } from "./gpu.ts";

/** Room for rows [numRows, numInputs] of a product's input, zero. */
export function emptyActivation({ pool, family }: GpuContext, numRows: number, numInputs: number): Activation {
  const maxRows = paddedRows(family, numRows);
  return { buffer: pool.storage(activationBytes(family, maxRows, numInputs), "x"), maxRows, numInputs };
}

/** Rows f32 [numRows, numInputs] as a family of plain rows reads them. */
export function rowsActivation({ pool }: GpuContext, rows: Float32Array<ArrayBuffer>, numInputs: number): Activation {
  return { buffer: pool.upload(rows, "x"), maxRows: rows.length / numInputs, numInputs };
}

/** Rows f32 [numRows, numInputs] as the matrix family reads them, rounded to halves. */
export function tilesActivation({ pool, family }: GpuContext, rows: Float32Array, numInputs: number): Activation {
  const numRows = rows.length / numInputs;
  const maxRows = paddedRows(family, numRows);
  const tiles = new Float32Array(activationBytes(family, maxRows, numInputs) / 2);
  for (const [i, value] of rows.entries()) tiles[tileIndex(maxRows, Math.floor(i / numInputs), i % numInputs)] = value;
  return { buffer: pool.upload(toHalf(tiles), "x"), maxRows, numInputs };
}

/** Where the matrix family has input k of a row. */
function tileIndex(maxRows: number, row: number, k: number): number {
  return (Math.floor(k / 16) * maxRows + row) * 16 + (k % 16);
}

/** An activation's rows f32 [numRows, numInputs], read back from either layout. */
export async function readActivation(gpu: GpuContext, x: Activation, numRows: number): Promise<Float32Array> {
  const { buffer, maxRows, numInputs } = x;
  if (gpu.family.name !== "matrix") return readF32(gpu, buffer, numRows * numInputs);
  const tiles = fromHalf(
    new Uint16Array(await gpu.pool.read(buffer, 0, activationBytes(gpu.family, maxRows, numInputs))),
  );
  return Float32Array.from({ length: numRows * numInputs }, (_, i) => {
    return tiles[tileIndex(maxRows, Math.floor(i / numInputs), i % numInputs)] ?? Number.NaN;
  });
}

/** A product [numRows, numOutputs] as its consumers find it: partial sums that add up to `values`. */
export function givenProduct(
  { pool }: GpuContext,
  ranges: readonly Float32Array[],
  { numOutputs }: Pick<ProductShape, "numOutputs">,
): Product {
  const size = ranges[0]?.length ?? 0;
  const all = new Float32Array(size * ranges.length);
  for (const [i, range] of ranges.entries()) all.set(range, i * size);
  return { buffer: pool.upload(all, "product"), maxRows: size / numOutputs, numOutputs, numRanges: ranges.length };
}

/** What the consumers of a product make of its ranges: f32 sums in ascending order. */
export function foldRanges(ranges: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const [first = new Float32Array(), ...others] = ranges;
  const sum = new Float32Array(first);
  for (const range of others) for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (range[i] ?? 0);
  return sum;
}
