import { halfTable } from "./half.ts";
import type { TensorType } from "./types.ts";

/**
 * Expands whole blocks of `source` into `out` f32 [numBlocks · blockSize]. Multi-byte values are little endian; block
 * layouts are ggml's (ggml-common.h), and every value equals ggml's own dequantisation bit for bit.
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
};

function expandF32(source: Uint8Array, out: Float32Array): void {
  new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(source.subarray(0, out.byteLength));
}

function expandF16(source: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let i = 0, at = 0; i < out.length; i++, at += 2) out[i] = half[u16(source, at)] ?? 0;
}

function expandBf16(source: Uint8Array, out: Float32Array): void {
  // A bf16 is the upper half of an f32.
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0, at = 0; i < out.length; i++, at += 2) bits[i] = u16(source, at) << 16;
}

/** Block: f16 scale d, int8 q[32]; value = d · q. */
function expandQ8_0(source: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  const quants = new Int8Array(source.buffer, source.byteOffset, source.byteLength);
  for (let i = 0, at = 0; i < out.length; at += 34) {
    const scale = half[u16(source, at)] ?? 0;
    for (let j = at + 2; j < at + 34; j++, i++) out[i] = scale * (quants[j] ?? 0);
  }
}

/** Block: f16 scale d, 16 bytes; the low nibbles are values 0…15, the high ones 16…31; value = d · (q − 8). */
function expandQ4_0(source: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let i = 0, at = 0; i < out.length; i += 32, at += 18) {
    const scale = half[u16(source, at)] ?? 0;
    for (let j = 0; j < 16; j++) {
      const pair = source[at + 2 + j] ?? 0;
      out[i + j] = scale * ((pair & 15) - 8);
      out[i + j + 16] = scale * ((pair >> 4) - 8);
    }
  }
}

/** Block: f16 scale d, f16 minimum m, 16 bytes as in Q4_0; value = d · q + m. */
function expandQ4_1(source: Uint8Array, out: Float32Array): void {
  const half = halfTable();
  for (let i = 0, at = 0; i < out.length; i += 32, at += 20) {
    const scale = half[u16(source, at)] ?? 0;
    const minimum = half[u16(source, at + 2)] ?? 0;
    for (let j = 0; j < 16; j++) {
      const pair = source[at + 4 + j] ?? 0;
      out[i + j] = scale * (pair & 15) + minimum;
      out[i + j + 16] = scale * (pair >> 4) + minimum;
    }
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}
