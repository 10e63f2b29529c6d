import { TENSOR_LAYOUTS } from "../dequantize.ts";
import { checkNoOverlap, type TensorExtent } from "../tensor-data.ts";
import type { TensorType } from "../types.ts";
import type { Cursor } from "./cursor.ts";

const MAX_TENSORS = 65_536n;
const MAX_NAME_BYTES = 256;
const MAX_DIMS = 4;

/** ggml's ids of the types that can be read. */
const TENSOR_TYPES: ReadonlyMap<number, TensorType> = new Map([
  [0, "F32"],
  [1, "F16"],
  [2, "Q4_0"],
  [3, "Q4_1"],
  [6, "Q5_0"],
  [7, "Q5_1"],
  [8, "Q8_0"],
  [10, "Q2_K"],
  [11, "Q3_K"],
  [12, "Q4_K"],
  [13, "Q5_K"],
  [14, "Q6_K"],
  [30, "BF16"],
]);

/** Names for the error when a file holds a type that cannot. */
const OTHER_TYPES: ReadonlyMap<number, string> = new Map([
  [9, "Q8_1"],
  [15, "Q8_K"],
  [16, "IQ2_XXS"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [20, "IQ4_NL"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [23, "IQ4_XS"],
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [28, "F64"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
]);

/** A tensor's record; `offset` still counts from the start of the data section. */
type RelativeExtent = Omit<TensorExtent, "offset"> & { readonly offset: bigint };

export function checkTensorCount(cursor: Cursor, numTensors: bigint): void {
  if (numTensors > MAX_TENSORS) {
    throw cursor.malformed("tensor count", `${numTensors} tensors, the limit is ${MAX_TENSORS}`, 8);
  }
  // Name length, number of dimensions, type and offset.
  cursor.file.checkRange(BigInt(cursor.offset), numTensors * 24n, "tensor count");
}

/**
 * Reads the tensor records and places them in the data section, which starts at the next multiple of `alignment`.
 * @throws ModelFileError for duplicate names, unknown types, more than 4 dimensions, ragged blocks, misaligned,
 *   overlapping or out-of-file data.
 */
export function readTensorInfos(cursor: Cursor, numTensors: bigint, alignment: number): TensorExtent[] {
  const names = new Set<string>();
  const relative: RelativeExtent[] = [];
  for (let i = 0; i < Number(numTensors); i++) {
    const name = cursor.string(`tensor name ${i}`, MAX_NAME_BYTES);
    if (names.has(name)) throw cursor.malformed(`tensor ${name}`, "duplicate name");
    names.add(name);
    relative.push(readTensorInfo(cursor, name, BigInt(alignment)));
  }
  const dataStart = ceilTo(BigInt(cursor.offset), BigInt(alignment));
  const tensors = relative.map((tensor) => {
    const offset = dataStart + tensor.offset;
    cursor.file.checkRange(offset, BigInt(tensor.numBytes), `tensor ${tensor.name}`);
    return { ...tensor, offset: Number(offset) };
  });
  checkNoOverlap(cursor.file, tensors);
  return tensors;
}

function readTensorInfo(cursor: Cursor, name: string, alignment: bigint): RelativeExtent {
  const field = `tensor ${name}`;
  const numDims = cursor.u32(field);
  if (numDims > MAX_DIMS) throw cursor.malformed(field, `${numDims} dimensions, the limit is ${MAX_DIMS}`, 4);
  // ggml lists the fastest dimension first.
  const dims = Array.from({ length: numDims }, () => cursor.u64(field)).reverse();
  if (dims.includes(0n)) throw cursor.malformed(field, "a dimension is 0");
  const typeId = cursor.u32(field);
  const type = TENSOR_TYPES.get(typeId);
  if (type === undefined) {
    const found = OTHER_TYPES.get(typeId) ?? `number ${typeId}`;
    const known = [...TENSOR_TYPES.values()].join(", ");
    throw cursor.file.error("unsupported", field, cursor.offset - 4, `tensor type ${found}; supported: ${known}`);
  }
  const { blockSize, blockBytes } = TENSOR_LAYOUTS[type];
  const rowLength = dims.at(-1) ?? 1n;
  if (rowLength % BigInt(blockSize) !== 0n) {
    throw cursor.malformed(field, `rows of ${rowLength} do not divide into ${type} blocks of ${blockSize}`);
  }
  const numElements = dims.reduce((product, dim) => product * dim, 1n);
  const numBytes = (numElements / BigInt(blockSize)) * BigInt(blockBytes);
  const offset = cursor.u64(field);
  if (offset % alignment !== 0n) throw cursor.malformed(field, `offset ${offset} is not a multiple of ${alignment}`, 8);
  // Before the numbers leave BigInt: no tensor is larger than its file.
  cursor.file.checkRange(0n, offset + numBytes, field);
  return { name, type, shape: dims.map(Number), numElements: Number(numElements), numBytes: Number(numBytes), offset };
}

function ceilTo(value: bigint, multiple: bigint): bigint {
  return ((value + multiple - 1n) / multiple) * multiple;
}
