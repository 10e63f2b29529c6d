import { readHalf } from "./half.ts";

/*
 * ggml's "K" types: super-blocks of 256 values in groups of 16 or 32, each group with a small integer scale (and minimum)
 * of its own, under one f16 scale (and minimum) for all. Parts of a value's bits lie in different arrays. Where an array
 * has b bits a value, a run of its bytes holds 8 / b runs of values: in the lowest bits the first, and so on.
 */

const SUPER_BLOCK = 256;

/**
 * Block: 16 bytes (scale s in the low half, minimum m in the high half, of 16 values each), 64 bytes of 2-bit q in runs
 * of 32, f16 d, f16 dMin; value = d · s · q − dMin · m.
 */
export function expandQ2K(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += SUPER_BLOCK, at += 84) {
    const d = readHalf(source, at + 80);
    const dMin = readHalf(source, at + 82);
    for (let group = 0; group < 16; group++) {
      const packed = source[at + group] ?? 0;
      const scale = d * (packed & 15);
      const minimum = dMin * (packed >> 4);
      for (let j = 16 * group; j < 16 * group + 16; j++) {
        out[i + j] = scale * twoBits(source, at + 16, j) - minimum;
      }
    }
  }
}

/**
 * Block: 32 bytes of the third bits, 64 bytes of the low two bits as in Q2_K, 12 bytes of 6-bit scales s of 16 values
 * each, f16 d; value = d · (s − 32) · (q − 4).
 */
export function expandQ3K(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += SUPER_BLOCK, at += 110) {
    const d = readHalf(source, at + 108);
    for (let group = 0; group < 16; group++) {
      const scale = d * (q3Scale(source, at + 96, group) - 32);
      for (let j = 16 * group; j < 16 * group + 16; j++) {
        out[i + j] = scale * ((twoBits(source, at + 32, j) | (oneBit(source, at, j) << 2)) - 4);
      }
    }
  }
}

/**
 * Block: f16 d, f16 dMin, 12 bytes of 6-bit scales s and minima m of 32 values each, 128 bytes of 4-bit q in runs of 32;
 * value = d · s · q − dMin · m.
 */
export function expandQ4K(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += SUPER_BLOCK, at += 144) {
    const d = readHalf(source, at);
    const dMin = readHalf(source, at + 2);
    for (let group = 0; group < 8; group++) {
      const [s, m] = scaleAndMinimum(source, at + 4, group);
      const [scale, minimum] = [d * s, dMin * m];
      for (let j = 32 * group; j < 32 * group + 32; j++) {
        out[i + j] = scale * fourBits(source, at + 16, j, 32) - minimum;
      }
    }
  }
}

/** As Q4_K, with 32 bytes of the fifth bits before the others. */
export function expandQ5K(source: Uint8Array, out: Float32Array): void {
  for (let i = 0, at = 0; i < out.length; i += SUPER_BLOCK, at += 176) {
    const d = readHalf(source, at);
    const dMin = readHalf(source, at + 2);
    for (let group = 0; group < 8; group++) {
      const [s, m] = scaleAndMinimum(source, at + 4, group);
      const [scale, minimum] = [d * s, dMin * m];
      for (let j = 32 * group; j < 32 * group + 32; j++) {
        out[i + j] = scale * (fourBits(source, at + 48, j, 32) | (oneBit(source, at + 16, j) << 4)) - minimum;
      }
    }
  }
}

/**
 * Block: 128 bytes of the low four bits in runs of 64, 64 bytes of the high two bits as in Q2_K, int8 scales s[16] of 16
 * values each, f16 d; value = d · s · (q − 32).
 */
export function expandQ6K(source: Uint8Array, out: Float32Array): void {
  const signed = new Int8Array(source.buffer, source.byteOffset, source.byteLength);
  for (let i = 0, at = 0; i < out.length; i += SUPER_BLOCK, at += 210) {
    const d = readHalf(source, at + 208);
    for (let group = 0; group < 16; group++) {
      const scale = d * (signed[at + 192 + group] ?? 0);
      for (let j = 16 * group; j < 16 * group + 16; j++) {
        out[i + j] = scale * ((fourBits(source, at, j, 64) | (twoBits(source, at + 128, j) << 4)) - 32);
      }
    }
  }
}

/** Value `j` of an array of bits in one run of 32 bytes. */
function oneBit(source: Uint8Array, from: number, j: number): number {
  return ((source[from + (j & 31)] ?? 0) >> (j >> 5)) & 1;
}

/** Value `j` of an array of 2 bits each in runs of 32 bytes. */
function twoBits(source: Uint8Array, from: number, j: number): number {
  return ((source[from + ((j >> 7) << 5) + (j & 31)] ?? 0) >> (2 * ((j >> 5) & 3))) & 3;
}

/** Value `j` of an array of 4 bits each in runs of `run` bytes, a power of two. */
function fourBits(source: Uint8Array, from: number, j: number, run: 32 | 64): number {
  const byte = source[from + Math.floor(j / (2 * run)) * run + (j & (run - 1))] ?? 0;
  return (j & run) === 0 ? byte & 15 : byte >> 4;
}

/**
 * Scale and minimum number `group` of Q4_K and Q5_K, from the 12 bytes at `from`. The first four of each are the low six
 * bits of bytes 0 … 3 and 4 … 7; the others have their high two bits above those, and their low four in bytes 8 … 11, scales
 * in the low half, minima in the high half.
 */
export function scaleAndMinimum(
  source: Uint8Array,
  from: number,
  group: number,
): readonly [scale: number, minimum: number] {
  const at = from + (group & 3);
  const [first = 0, second = 0, third = 0] = [source[at], source[at + 4], source[at + 8]];
  if (group < 4) return [first & 63, second & 63];
  return [(third & 15) | ((first >> 6) << 4), (third >> 4) | ((second >> 6) << 4)];
}

/** Scale number `group` of Q3_K: four bits in bytes 0 … 7, low halves first, and two in bytes 8 … 11. */
function q3Scale(source: Uint8Array, from: number, group: number): number {
  const low = ((source[from + (group & 7)] ?? 0) >> (group < 8 ? 0 : 4)) & 15;
  const high = ((source[from + 8 + (group & 3)] ?? 0) >> (2 * (group >> 2))) & 3;
  return low | (high << 4);
}
