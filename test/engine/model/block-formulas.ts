import { TENSOR_LAYOUTS } from "../../../engine/model/dequantize.ts";
import type { TensorType } from "../../../engine/model/types.ts";
import type { Random } from "../../support/random.ts";

/** Plain formulas after ggml's dequantize_row_*: the value at index `i` of one block, in the order of its operations in f32. */
export const VALUE_OF: Readonly<Record<TensorType, (block: Buffer, i: number) => number>> = {
  F32: (block) => block.readFloatLE(),
  F16: (block) => half(block, 0),
  BF16: (block) => Buffer.from([0, 0, block.readUInt8(0), block.readUInt8(1)]).readFloatLE(),
  Q8_0: (block, i) => times(half(block, 0), block.readInt8(2 + i)),
  Q4_0: (block, i) => times(half(block, 0), bits(block, 2, 4, 16, i) - 8),
  Q4_1: (block, i) => plus(times(half(block, 0), bits(block, 4, 4, 16, i)), half(block, 2)),
  Q5_0: (block, i) => times(half(block, 0), bits(block, 6, 4, 16, i) + 16 * bitOf(block.readUInt32LE(2), i) - 16),
  Q5_1: (block, i) => {
    const quant = bits(block, 8, 4, 16, i) + 16 * bitOf(block.readUInt32LE(4), i);
    return plus(times(half(block, 0), quant), half(block, 2));
  },
  Q2_K: (block, i) => {
    const packed = block.readUInt8(Math.floor(i / 16));
    const [scale, minimum] = [times(half(block, 80), packed % 16), times(half(block, 82), Math.floor(packed / 16))];
    return plus(times(scale, bits(block, 16, 2, 32, i)), -minimum);
  },
  Q3_K: (block, i) => {
    const scale = times(half(block, 108), q3Scales(block)[Math.floor(i / 16)] ?? 0);
    return times(scale, bits(block, 32, 2, 32, i) - (bits(block, 0, 1, 32, i) === 1 ? 0 : 4));
  },
  Q4_K: (block, i) => {
    const [scale, minimum] = scaleAndMinimum(block, Math.floor(i / 32));
    return plus(times(scale, bits(block, 16, 4, 32, i)), -minimum);
  },
  Q5_K: (block, i) => {
    const [scale, minimum] = scaleAndMinimum(block, Math.floor(i / 32));
    return plus(times(scale, bits(block, 48, 4, 32, i) + 16 * bits(block, 16, 1, 32, i)), -minimum);
  },
  Q6_K: (block, i) => {
    const scale = times(half(block, 208), block.readInt8(192 + Math.floor(i / 16)));
    return times(scale, bits(block, 0, 4, 64, i) + 16 * bits(block, 128, 2, 32, i) - 32);
  },
};

/** Where a block keeps f16 values; for the plain types, the upper half of the number. */
export const HALF_OFFSETS: Readonly<Record<TensorType, readonly number[]>> = {
  ...{ F32: [2], F16: [0], BF16: [0], Q8_0: [0], Q4_0: [0], Q4_1: [0, 2], Q5_0: [0], Q5_1: [0, 2] },
  ...{ Q2_K: [80, 82], Q3_K: [108], Q4_K: [0, 2], Q5_K: [0, 2], Q6_K: [208] },
};

/** Random blocks without NaN and infinity, whose bits the formulas do not define. */
export function randomBlocks(random: Random, type: TensorType, numBlocks: number): Buffer {
  const { blockBytes } = TENSOR_LAYOUTS[type];
  const blocks = Buffer.from(Array.from({ length: numBlocks * blockBytes }, () => random.int(0, 255)));
  for (let block = 0; block < blocks.length; block += blockBytes) {
    for (const at of HALF_OFFSETS[type]) {
      blocks[block + at + 1] = random.pick([0x00, 0x2c, 0x3b, 0x80, 0xb4, 0x7a]);
    }
  }
  return blocks;
}

/** binary16 by moving its bits into a binary32; subnormals by scaling. */
export function halfBits(half: number): number {
  const bytes = Buffer.alloc(4);
  const [sign, exponent, fraction] = [half >> 15, (half >> 10) & 31, half & 1023];
  if (exponent === 0) return (sign === 1 ? -1 : 1) * fraction * 2 ** -24;
  const wide = exponent === 31 ? 255 : exponent + 112;
  bytes.writeUInt32LE(((sign << 31) | (wide << 23) | (fraction << 13)) >>> 0);
  return bytes.readFloatLE();
}

const times = (a: number, b: number): number => Math.fround(a * b);
const plus = (a: number, b: number): number => Math.fround(a + b);
const half = (block: Buffer, at: number): number => halfBits(block.readUInt16LE(at));
const bitOf = (word: number, i: number): number => Math.floor(word / 2 ** i) % 2;

/** Value `i` of an array of `width` bits each: a run of bytes holds as many values at each place of its bytes as it has bytes. */
function bits(block: Buffer, start: number, width: number, run: number, i: number): number {
  const valuesOfRun = (run * 8) / width;
  const byte = block.readUInt8(start + Math.floor(i / valuesOfRun) * run + (i % run));
  const place = Math.floor((i % valuesOfRun) / run);
  return Math.floor(byte / 2 ** (place * width)) % 2 ** width;
}

/** As ggml unpacks them: twelve bytes as three words, masks over four scales at a time. */
function q3Scales(block: Buffer): readonly number[] {
  const [a, b, high] = [block.readUInt32LE(96), block.readUInt32LE(100), block.readUInt32LE(104)];
  const [low4, low2] = [0x0f0f0f0f, 0x03030303];
  const words = [
    (a & low4) | ((high & low2) << 4),
    (b & low4) | (((high >>> 2) & low2) << 4),
    ((a >>> 4) & low4) | (((high >>> 4) & low2) << 4),
    ((b >>> 4) & low4) | (((high >>> 6) & low2) << 4),
  ];
  return words.flatMap((word) => [0, 8, 16, 24].map((shift) => ((word >>> shift) & 63) - 32));
}

/** ggml's get_scale_min_k4, times the block's own scale and minimum. */
function scaleAndMinimum(block: Buffer, j: number): readonly [number, number] {
  const q = (at: number) => block.readUInt8(4 + at);
  const scale = j < 4 ? q(j) & 63 : (q(j + 4) & 0xf) | ((q(j - 4) >> 6) << 4);
  const minimum = j < 4 ? q(j + 4) & 63 : (q(j + 4) >> 4) | ((q(j) >> 6) << 4);
  return [times(half(block, 0), scale), times(half(block, 2), minimum)];
}
