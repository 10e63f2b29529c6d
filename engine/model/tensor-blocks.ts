import type { Q4Blocks, Q8Blocks, WeightBlocks } from "../../kernels/index.ts";
import { scaleAndMinimum } from "./dequantize-k.ts";
import { readHalf } from "./half.ts";
import type { ModelFile } from "./model-file.ts";
import { readTensorF32, type TensorExtent } from "./tensor-data.ts";
import type { TensorType } from "./types.ts";

const BLOCK = 32;
/** Types with more bits than q8 loses. */
const FULL_PRECISION: ReadonlySet<TensorType> = new Set(["F32", "F16", "BF16"]);

/**
 * A tensor as q8 or q4 where its type is one of them by another name (ggml-common.h), else dequantised.
 * @throws ModelFileError truncated, or unsupported when too large to hold
 */
export function readTensorBlocks(file: ModelFile, tensor: TensorExtent): WeightBlocks {
  const { type, numElements } = tensor;
  const split = SPLITTERS[type];
  if (split === undefined) {
    return { format: "float", values: readTensorF32(file, tensor), lowPrecision: !FULL_PRECISION.has(type) };
  }
  return split(file.read(tensor.offset, tensor.numBytes, `tensor ${tensor.name}`), numElements);
}

type Split = (source: Uint8Array, numElements: number) => WeightBlocks;

const SPLITTERS: Partial<Record<TensorType, Split>> = {
  Q8_0: splitQ8_0,
  Q4_0: (source, count) => splitQ4(source, count, 18, (at) => [readHalf(source, at), -8 * readHalf(source, at)]),
  Q4_1: (source, count) => splitQ4(source, count, 20, (at) => [readHalf(source, at), readHalf(source, at + 2)]),
  Q4_K: splitQ4K,
};

function splitQ8_0(source: Uint8Array, numElements: number): Q8Blocks {
  const quants = new Int8Array(numElements);
  const scales = new Float32Array(numElements / BLOCK);
  const bytes = new Int8Array(source.buffer, source.byteOffset, source.byteLength);
  for (let block = 0, at = 0; block < scales.length; block++, at += 34) {
    scales[block] = readHalf(source, at);
    quants.set(bytes.subarray(at + 2, at + 34), block * BLOCK);
  }
  return { format: "q8", quants, scales };
}

/** Scale and minimum, then 16 bytes: byte j holds quant j in its low half, quant j + 16 in its high half. */
function splitQ4(
  source: Uint8Array,
  numElements: number,
  blockBytes: number,
  scaleAt: (at: number) => readonly [scale: number, minimum: number],
): Q4Blocks {
  const quants = new Uint8Array(numElements);
  const scales = new Float32Array(numElements / BLOCK);
  const minimums = new Float32Array(scales.length);
  for (let block = 0; block < scales.length; block++) {
    const at = block * blockBytes;
    const [scale, minimum] = scaleAt(at);
    scales[block] = scale;
    minimums[block] = minimum;
    const nibbles = at + blockBytes - 16;
    for (let j = 0; j < 16; j++) {
      const pair = source[nibbles + j] ?? 0;
      quants[block * BLOCK + j] = pair & 15;
      quants[block * BLOCK + j + 16] = pair >> 4;
    }
  }
  return { format: "q4", quants, scales, minimums };
}

/** Super-blocks of 8 blocks; of each 32 bytes of quants, the low halves are one block and the high halves the next. */
function splitQ4K(source: Uint8Array, numElements: number): Q4Blocks {
  const quants = new Uint8Array(numElements);
  const scales = new Float32Array(numElements / BLOCK);
  const minimums = new Float32Array(scales.length);
  for (let block = 0; block < scales.length; block++) {
    const at = Math.floor(block / 8) * 144;
    const group = block % 8;
    const [scale, minimum] = scaleAndMinimum(source, at + 4, group);
    scales[block] = readHalf(source, at) * scale;
    minimums[block] = -readHalf(source, at + 2) * minimum;
    const nibbles = at + 16 + (group >> 1) * BLOCK;
    for (let j = 0; j < BLOCK; j++) {
      const pair = source[nibbles + j] ?? 0;
      quants[block * BLOCK + j] = group % 2 === 0 ? pair & 15 : pair >> 4;
    }
  }
  return { format: "q4", quants, scales, minimums };
}
