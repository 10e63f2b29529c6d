import { describe, expect, test } from "vitest";
import { TENSOR_LAYOUTS } from "../../../engine/model/dequantize.ts";
import { halfTable, halfToFloat } from "../../../engine/model/half.ts";
import type { TensorType } from "../../../engine/model/types.ts";
import { bitsOf, firstDifferentBits } from "../../support/arrays.ts";
import { Random } from "../../support/random.ts";

/** Plain formulas after ggml's dequantize_row_*: the value at index `i` of one block. */
const VALUE_OF: Readonly<Record<TensorType, (block: Buffer, i: number) => number>> = {
  F32: (block) => block.readFloatLE(),
  F16: (block) => halfBits(block.readUInt16LE()),
  BF16: (block) => Buffer.from([0, 0, block.readUInt8(0), block.readUInt8(1)]).readFloatLE(),
  Q8_0: (block, i) => Math.fround(halfBits(block.readUInt16LE()) * block.readInt8(2 + i)),
  Q4_0: (block, i) => Math.fround(halfBits(block.readUInt16LE()) * (nibble(block, 2, i) - 8)),
  Q4_1: (block, i) => {
    const product = Math.fround(halfBits(block.readUInt16LE()) * nibble(block, 4, i));
    return Math.fround(product + halfBits(block.readUInt16LE(2)));
  },
};

function nibble(block: Buffer, start: number, i: number): number {
  const byte = block.readUInt8(start + (i % 16));
  return i < 16 ? byte & 15 : byte >> 4;
}

/** binary16 by moving its bits into a binary32; subnormals by scaling. */
function halfBits(half: number): number {
  const bytes = Buffer.alloc(4);
  const [sign, exponent, fraction] = [half >> 15, (half >> 10) & 31, half & 1023];
  if (exponent === 0) return (sign === 1 ? -1 : 1) * fraction * 2 ** -24;
  const wide = exponent === 31 ? 255 : exponent + 112;
  bytes.writeUInt32LE(((sign << 31) | (wide << 23) | (fraction << 13)) >>> 0);
  return bytes.readFloatLE();
}

test("every half-precision number widens to its own value", () => {
  const table = halfTable();
  expect(table).toHaveLength(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const expected = halfBits(bits);
    if (!Object.is(halfToFloat(bits), expected) || !Object.is(table[bits], expected)) {
      expect.fail(`${bits.toString(16)}: ${halfToFloat(bits)} and ${table[bits]}, expected ${expected}`);
    }
  }
});

test.each([
  [0x3c00, 1],
  [0xc000, -2],
  [0x7bff, 65504],
  [0x0400, 2 ** -14],
  [0x0001, 2 ** -24],
  [0x7c00, Number.POSITIVE_INFINITY],
  [0x8000, -0],
])("half %i is %d", (bits, value) => {
  expect(halfToFloat(bits)).toBe(value);
});

describe("random blocks give what the plain formula gives, bit for bit", () => {
  test.each(Object.keys(VALUE_OF) as TensorType[])("%s", (type) => {
    const { blockSize, blockBytes, expand } = TENSOR_LAYOUTS[type];
    const random = new Random(7);
    const numBlocks = 3000;
    const source = Buffer.from(Array.from({ length: numBlocks * blockBytes }, () => random.int(0, 255)));
    // No NaN and no infinity: their bits are not defined by the formulas.
    for (let at = 1; at < source.length; at += blockBytes)
      source[at] = random.pick([0x00, 0x2c, 0x3b, 0x80, 0xb4, 0x7a]);
    if (type === "Q4_1") for (let at = 3; at < source.length; at += blockBytes) source[at] = random.int(0, 0x7b);
    if (type === "F32") for (let at = 3; at < source.length; at += blockBytes) source[at] = random.int(0, 0x7e);
    const out = new Float32Array(numBlocks * blockSize);
    expand(source, out);
    const expected = out.map((_, i) => {
      const block = Math.floor(i / blockSize);
      return VALUE_OF[type](source.subarray(block * blockBytes, (block + 1) * blockBytes), i % blockSize);
    });
    expect(firstDifferentBits(out, expected)).toBe(-1);
    expect(new Set(bitsOf(out)).size).toBeGreaterThan(1000);
  });

  test("a Q4_0 block by hand", () => {
    const out = new Float32Array(32);
    // Scale 0.5; low nibbles 0…15 in order, high nibbles all 15.
    const quants = Array.from({ length: 16 }, (_, i) => 0xf0 | i);
    TENSOR_LAYOUTS.Q4_0.expand(Uint8Array.of(0x00, 0x38, ...quants), out);
    expect([...out]).toEqual([...Array.from({ length: 16 }, (_, i) => (i - 8) / 2), ...Array(16).fill(3.5)]);
  });
});
