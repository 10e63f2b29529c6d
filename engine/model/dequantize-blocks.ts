import { readHalf } from "./half.ts";

/*
 * ggml's quantised types with blocks of 32 values. Where values have 4 bits (or 4 of 5), a byte holds two of them: byte j
 * has value j in its low half and value j + 16 in its high half.
 */

/** Block: f16 scale d, int8 q[32]; value = d · q. */
export function expandQ8_0(source: Uint8Array, out: Float32Array): void {
  const quants = new Int8Array(source.buffer, source.byteOffset, source.byteLength);
  for (let i = 0, at = 0; i < out.length; at += 34) {
    const scale = readHalf(source, at);
    for (let j = at + 2; j < at + 34; j++, i++) out[i] = scale * (quants[j] ?? 0);
  }
}

/** Block: f16 scale d, 16 bytes of q; value = d · (q − 8). */
export function expandQ4_0(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += 32, at += 18) {
    const scale = readHalf(source, at);
    for (let j = 0; j < 16; j++) {
      const pair = source[at + 2 + j] ?? 0;
      out[i + j] = scale * ((pair & 15) - 8);
      out[i + j + 16] = scale * ((pair >> 4) - 8);
    }
  }
}

/** Block: f16 scale d, f16 minimum m, 16 bytes of q; value = d · q + m. */
export function expandQ4_1(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += 32, at += 20) {
    const scale = readHalf(source, at);
    const minimum = readHalf(source, at + 2);
    for (let j = 0; j < 16; j++) {
      const pair = source[at + 4 + j] ?? 0;
      out[i + j] = scale * (pair & 15) + minimum;
      out[i + j + 16] = scale * (pair >> 4) + minimum;
    }
  }
}

/** Block: f16 scale d, 4 bytes with the fifth bit of value i in bit i, 16 bytes of the others; value = d · (q − 16). */
export function expandQ5_0(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += 32, at += 22) {
    const scale = readHalf(source, at);
    for (let j = 0; j < 16; j++) {
      const pair = source[at + 6 + j] ?? 0;
      out[i + j] = scale * (((pair & 15) | fifthBit(source, at + 2, j)) - 16);
      out[i + j + 16] = scale * (((pair >> 4) | fifthBit(source, at + 2, j + 16)) - 16);
    }
  }
}

/** Block: f16 scale d, f16 minimum m, then as Q5_0; value = d · q + m. */
export function expandQ5_1(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += 32, at += 24) {
    const scale = readHalf(source, at);
    const minimum = readHalf(source, at + 2);
    for (let j = 0; j < 16; j++) {
      const pair = source[at + 8 + j] ?? 0;
      out[i + j] = scale * ((pair & 15) | fifthBit(source, at + 4, j)) + minimum;
      out[i + j + 16] = scale * ((pair >> 4) | fifthBit(source, at + 4, j + 16)) + minimum;
    }
  }
}

/** Bit `i` of the bits that start at byte `from`, as 16 or 0. */
function fifthBit(source: Uint8Array, from: number, i: number): number {
  return (((source[from + (i >> 3)] ?? 0) >> (i & 7)) & 1) << 4;
}
