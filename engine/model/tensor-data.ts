import { TENSOR_LAYOUTS } from "./dequantize.ts";
import type { ModelFile } from "./model-file.ts";
import type { TensorInfo } from "./types.ts";

/** Bytes expanded at a time, so that a large tensor never has its packed form in memory as a whole. */
const CHUNK_BYTES = 4 << 20;
/** 8 GB as f32; typed arrays go little further. */
const MAX_ELEMENTS = 2 ** 31 - 1;

/** Where data lies. `offset` counts from the start of the file. */
interface Extent {
  readonly name: string;
  readonly offset: number;
  readonly numElements: number;
  readonly numBytes: number;
}

export interface TensorExtent extends TensorInfo, Extent {}

/** Bytes of an element of what files hold beside weights: vocabulary maps. */
export const INTEGER_BYTES = { I64: 8, I32: 4, BOOL: 1 } as const;
export type IntegerType = keyof typeof INTEGER_BYTES;

export interface IntegerExtent extends Extent {
  readonly type: IntegerType;
  readonly shape: readonly number[];
}

/** Values exact up to 2⁵³, booleans as 0 and 1. @throws ModelFileError truncated */
export function readIntegers(file: ModelFile, { name, type, offset, numElements, numBytes }: IntegerExtent): number[] {
  const bytes = file.read(offset, numBytes, `tensor ${name}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = {
    I64: (i: number) => Number(view.getBigInt64(8 * i, true)),
    I32: (i: number) => view.getInt32(4 * i, true),
    BOOL: (i: number) => view.getUint8(i),
  };
  return Array.from({ length: numElements }, (_, i) => read[type](i));
}

/** Dequantised values f32 [numElements]. @throws ModelFileError truncated, or unsupported when too large to hold. */
export function readTensorF32(file: ModelFile, tensor: TensorExtent): Float32Array {
  const { blockSize, blockBytes, expand } = TENSOR_LAYOUTS[tensor.type];
  const field = `tensor ${tensor.name}`;
  if (tensor.numElements > MAX_ELEMENTS) {
    throw file.error(
      "unsupported",
      field,
      tensor.offset,
      `${tensor.numElements} elements, the limit is ${MAX_ELEMENTS}`,
    );
  }
  file.checkRange(BigInt(tensor.offset), BigInt(tensor.numBytes), field);
  const out = new Float32Array(tensor.numElements);
  const numBlocks = tensor.numElements / blockSize;
  const chunkBlocks = Math.min(numBlocks, Math.floor(CHUNK_BYTES / blockBytes));
  const chunk = new Uint8Array(chunkBlocks * blockBytes);
  for (let block = 0; block < numBlocks; block += chunkBlocks) {
    const count = Math.min(chunkBlocks, numBlocks - block);
    const packed = chunk.subarray(0, count * blockBytes);
    file.readInto(packed, tensor.offset + block * blockBytes, field);
    expand(packed, out.subarray(block * blockSize, (block + count) * blockSize));
  }
  return out;
}

/** Bytes of each tensor's head that go into a digest. */
const SAMPLE_BYTES = 256;

/** The first bytes of a tensor: what tells two trainings of one shape apart without reading gigabytes. */
export function sampleTensor(file: ModelFile, tensor: TensorExtent): Uint8Array {
  return file.read(tensor.offset, Math.min(tensor.numBytes, SAMPLE_BYTES), `tensor ${tensor.name}`);
}

/** @throws ModelFileError malformed when two tensors share bytes. */
export function checkNoOverlap(file: ModelFile, tensors: readonly Extent[]): void {
  const sorted = tensors.filter((tensor) => tensor.numBytes > 0).sort((a, b) => a.offset - b.offset);
  for (const [i, tensor] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next !== undefined && tensor.offset + tensor.numBytes > next.offset) {
      throw file.error("malformed", `tensor ${next.name}`, next.offset, `overlaps tensor ${tensor.name}`);
    }
  }
}
