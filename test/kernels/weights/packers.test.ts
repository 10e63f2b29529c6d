import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expandBlocks, type ProductShape } from "../../../kernels/index.ts";
import { packF16Rows, packF32Rows, packQ4Rows, packQ8Rows } from "../../../kernels/weights/pack-rows.ts";
import { type PackedWeights, packF16Tiles, packQ4Tiles, packQ8Tiles } from "../../../kernels/weights/pack-tiles.ts";
import type { Q4Blocks, Q8Blocks, WeightBlocks } from "../../../kernels/weights/weight-blocks.ts";
import { Random } from "../../support/random.ts";
import { randomBlocks } from "./random-blocks.ts";
import { UNPACK } from "./unpack.ts";

interface Packer {
  readonly layout: keyof typeof UNPACK;
  readonly format: WeightBlocks["format"];
  readonly pack: (shape: ProductShape, blocks: WeightBlocks) => PackedWeights;
}

const ofFloats = (pack: (shape: ProductShape, values: Float32Array) => PackedWeights) => ({
  format: "float" as const,
  pack: (shape: ProductShape, blocks: WeightBlocks) => pack(shape, expandBlocks(blocks)),
});
const ofQ8 = (pack: (shape: ProductShape, blocks: Q8Blocks) => PackedWeights) => ({
  format: "q8" as const,
  pack: (shape: ProductShape, blocks: WeightBlocks) => pack(shape, blocks as Q8Blocks),
});
const ofQ4 = (pack: (shape: ProductShape, blocks: Q4Blocks) => PackedWeights) => ({
  format: "q4" as const,
  pack: (shape: ProductShape, blocks: WeightBlocks) => pack(shape, blocks as Q4Blocks),
});

const PACKERS: readonly Packer[] = [
  { layout: "weights_f16_tiles", ...ofFloats(packF16Tiles) },
  { layout: "weights_q8_tiles", ...ofQ8(packQ8Tiles) },
  { layout: "weights_q4_tiles", ...ofQ4(packQ4Tiles) },
  { layout: "weights_f32_rows", ...ofFloats(packF32Rows) },
  { layout: "weights_f16_rows", ...ofFloats(packF16Rows) },
  { layout: "weights_q8_rows", ...ofQ8(packQ8Rows) },
  { layout: "weights_q4_rows", ...ofQ4(packQ4Rows) },
];

describe.each(PACKERS)("$layout", ({ layout, format, pack }) => {
  const unit = format === "float" ? 4 : 32;
  const shapes = fc.record({
    numInputs: fc.integer({ min: 1, max: 160 / unit }).map((count) => count * unit),
    numOutputs: fc.integer({ min: 1, max: 12 }).map((count) => count * 4),
  });

  it("holds every weight at its place and zeros beside them (property)", () => {
    const property = fc.property(shapes, fc.nat(8), fc.integer(), (shape, numMissing, seed) => {
      const { numInputs, numOutputs } = shape;
      const numRows = Math.max(1, numOutputs - numMissing);
      const blocks = randomBlocks(new Random(seed), format, numRows * numInputs);
      const weights = expandBlocks(blocks);
      const { outputs, inputs, at } = UNPACK[layout](pack(shape, blocks), numInputs, numOutputs);
      expect(outputs).toBeGreaterThanOrEqual(numOutputs);
      for (let n = 0; n < outputs; n++) {
        for (let k = 0; k < inputs; k++) {
          const expected = n < numRows && k < numInputs ? weights[n * numInputs + k] : 0;
          // −0 and 0 are the same weight; what is stored times its scale is exact in f64, and so is rounding it once.
          if (Math.fround(at(n, k)) !== expected) expect.fail(`${n}, ${k}: ${at(n, k)}, expected ${expected}`);
        }
      }
    });
    fc.assert(property, { numRuns: 30, seed: 1 });
  });

  it("has no byte that is not a weight's, a scale's or padding's", () => {
    const shape = { numInputs: 64, numOutputs: 32 };
    const { values, scales } = pack(shape, randomBlocks(new Random(2), format, 2048));
    const bytes = { weights_f32_rows: 4, weights_f16_rows: 2, weights_f16_tiles: 2 }[layout as string];
    const quantised = format === "q8" ? { values: 2048, scales: 128 } : { values: 1024, scales: 256 };
    expect({ values: values.byteLength, scales: scales?.byteLength }).toEqual(
      bytes === undefined ? quantised : { values: bytes * 2048, scales: undefined },
    );
  });
});
