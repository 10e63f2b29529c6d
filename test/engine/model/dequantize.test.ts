import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TENSOR_LAYOUTS } from "../../../engine/model/dequantize.ts";
import { halfTable } from "../../../engine/model/half.ts";
import type { TensorType } from "../../../engine/model/types.ts";
import { bitsOf, firstDifferentBits } from "../../support/arrays.ts";
import { Random } from "../../support/random.ts";
import { HALF_OFFSETS, halfBits, randomBlocks, VALUE_OF } from "./block-formulas.ts";

const TYPES = Object.keys(VALUE_OF) as TensorType[];

function expand(type: TensorType, source: Uint8Array): Float32Array {
  const { blockSize, blockBytes, expand } = TENSOR_LAYOUTS[type];
  const out = new Float32Array((source.length / blockBytes) * blockSize);
  expand(source, out);
  return out;
}

test("every half-precision number widens to its own value", () => {
  const table = halfTable();
  expect(table).toHaveLength(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const expected = halfBits(bits);
    if (!Object.is(table[bits], expected)) expect.fail(`${bits.toString(16)}: ${table[bits]}, expected ${expected}`);
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
  expect(halfTable()[bits]).toBe(value);
});

describe("random blocks give what the plain formula gives, bit for bit", () => {
  test.each(TYPES)("%s", (type) => {
    const { blockSize, blockBytes } = TENSOR_LAYOUTS[type];
    const source = randomBlocks(new Random(7), type, Math.ceil(96_000 / blockSize));
    const out = expand(type, source);
    const expected = out.map((_, i) => {
      const block = Math.floor(i / blockSize);
      return VALUE_OF[type](source.subarray(block * blockBytes, (block + 1) * blockBytes), i % blockSize);
    });
    expect(firstDifferentBits(out, expected)).toBe(-1);
    expect(new Set(bitsOf(out)).size).toBeGreaterThan(1000);
  });
});

describe("blocks that the Python package gguf expanded come out the same, bit for bit", () => {
  const path = join(import.meta.dirname, "golden-blocks.json");
  const golden = JSON.parse(readFileSync(path, "utf8")) as Record<string, { blocks: string; valuesF32: string }>;

  test("of every type but the plain ones", () => {
    expect(Object.keys(golden).sort()).toEqual(TYPES.filter((type) => !/^B?F\d+$/.test(type)).sort());
  });

  test.each(Object.entries(golden))("%s", (type, { blocks, valuesF32 }) => {
    const actual = expand(type as TensorType, Buffer.from(blocks, "base64"));
    const expected = new Float32Array(new Uint8Array(Buffer.from(valuesF32, "base64")).buffer);
    expect(firstDifferentBits(actual, expected)).toBe(-1);
  });
});

describe("properties of every type", () => {
  const typeAndSeed = [fc.constantFrom(...TYPES), fc.integer({ min: 0 })] as const;

  test("blocks do not touch each other, and bytes before and after are not read", () => {
    const property = fc.property(...typeAndSeed, fc.integer({ min: 2, max: 5 }), (type, seed, numBlocks) => {
      const { blockSize, blockBytes } = TENSOR_LAYOUTS[type];
      const source = randomBlocks(new Random(seed), type, numBlocks);
      const together = expand(type, source);
      for (let block = 0; block < numBlocks; block++) {
        // A copy at an odd place in a larger array, as pieces of a file are.
        const place = new Uint8Array(blockBytes + 14).fill(0xff);
        place.set(source.subarray(block * blockBytes, (block + 1) * blockBytes), 7);
        const alone = expand(type, place.subarray(7, 7 + blockBytes));
        const same = firstDifferentBits(alone, together.subarray(block * blockSize, (block + 1) * blockSize));
        expect(same).toBe(-1);
      }
    });
    fc.assert(property, { numRuns: 200, seed: 1 });
  });

  test("every byte of a block says something", () => {
    for (const type of TYPES) {
      const { blockBytes } = TENSOR_LAYOUTS[type];
      const source = randomBlocks(new Random(5), type, 1);
      const before = expand(type, source);
      for (let at = 0; at < blockBytes; at++) {
        const changed = Uint8Array.from(source, (byte, i) => (i === at ? byte ^ 0x11 : byte));
        expect(firstDifferentBits(expand(type, changed), before), `${type}, byte ${at}`).toBeGreaterThanOrEqual(0);
      }
    }
  });

  test("scales of zero give zeros", () => {
    for (const type of TYPES.filter((type) => type !== "F32" && type !== "BF16")) {
      const source = randomBlocks(new Random(6), type, 1);
      for (const at of HALF_OFFSETS[type]) source.fill(0, at, at + 2);
      expect(
        expand(type, source).every((value) => value === 0),
        type,
      ).toBe(true);
    }
  });
});

test("a Q4_0 block by hand", () => {
  // Scale 0.5; low nibbles 0…15 in order, high nibbles all 15.
  const quants = Array.from({ length: 16 }, (_, i) => 0xf0 | i);
  const out = expand("Q4_0", Uint8Array.of(0x00, 0x38, ...quants));
  expect([...out]).toEqual([...Array.from({ length: 16 }, (_, i) => (i - 8) / 2), ...Array(16).fill(3.5)]);
});
