import { expandQ4_0, expandQ4_1, expandQ5_0, expandQ5_1, expandQ8_0 } from "./dequantize-blocks.ts";
import { expandQ2K, expandQ3K, expandQ4K, expandQ5K, expandQ6K } from "./dequantize-k.ts";
import { halfTable, readU16 } from "./half.ts";
import type { TensorType } from "./types.ts";

/**
 * Expands whole blocks of `source` into `out` f32 [numBlocks · blockSize]. Multi-byte values are little endian; block
 * layouts are ggml's (ggml-common.h), and every value equals ggml's own dequantisation bit for bit: scales times quants
 * are exact in f32, and what is added to them is added in f64, where all of it is exact, and rounded once.
 */
type Expand = (source: Uint8Array, out: Float32Array) => void;

interface TensorLayout {
  /** Values in a block; 1 for plain types. */
  readonly blockSize: number;
  readonly blockBytes: number;
  readonly expand: Expand;
}

/** One row to add for each further type. */
export const TENSOR_LAYOUTS: Readonly<Record<TensorType, TensorLayout>> = {
  F32: { blockSize: 1, blockBytes: 4, expand: expandF32 },
  F16: { blockSize: 1, blockBytes: 2, expand: expandF16 },
  BF16: { blockSize: 1, blockBytes: 2, expand: expandBf16 },
  Q8_0: { blockSize: 32, blockBytes: 34, expand: expandQ8_0 },
  Q4_0: { blockSize: 32, blockBytes: 18, expand: expandQ4_0 },
  Q4_1: { blockSize: 32, blockBytes: 20, expand: expandQ4_1 },
  Q5_0: { blockSize: 32, blockBytes: 22, expand: expandQ5_0 },
  Q5_1: { blockSize: 32, blockBytes: 24, expand: expandQ5_1 },
  Q2_K: { blockSize: 256, blockBytes: 84, expand: expandQ2K },
  Q3_K: { blockSize: 256, blockBytes: 110, expand: expandQ3K },
  Q4_K: { blockSize: 256, blockBytes: 144, expand: expandQ4K },
  Q5_K: { blockSize: 256, blockBytes: 176, expand: expandQ5K },
  Q6_K: { blockSize: 256, blockBytes: 210, expand: expandQ6K },
};

function expandF32(source: Uint8Array, out: Float32Array): void {
  new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(source.subarray(0, out.byteLength));
}

function expandF16(source: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let i = 0, at = 0; i < out.length; i++, at += 2) out[i] = half[readU16(source, at)] ?? 0;
}

function expandBf16(source: Uint8Array, out: Float32Array): void {
  // A bf16 is the upper half of an f32.
  const bits = new Int32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0, at = 0; i < out.length; i++, at += 2) bits[i] = readU16(source, at) << 16;
}
