import fc from "fast-check";
import { beforeEach, describe, it } from "vitest";
import { checkArguments } from "../../../kernels/flash-decoding/arguments.ts";
import { runFlashDecoding } from "../../../kernels/flash-decoding/run.ts";
import { ADAPTER, FAMILIES, MATRIX, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { expectResult, type Kind, randomCall, type Sizes } from "./case.ts";

const test = useGpu();

/** Everything else is free: the rest would be compiled into kernels, and compiling is what takes time. */
const KINDS: readonly Kind[] = [
  { numKvHeads: 2, kvGroupNum: 1, headDim: 16, dtype: "f32", mask: "bool", maskPerHead: false },
  { numKvHeads: 1, kvGroupNum: 3, headDim: 8, dtype: "f32", mask: "f32", maskPerHead: true },
  { numKvHeads: 2, kvGroupNum: 2, headDim: 24, dtype: "f16", mask: "bool", maskPerHead: true },
  { numKvHeads: 3, kvGroupNum: 1, headDim: 40, dtype: "f16", mask: "f16", maskPerHead: false },
  { numKvHeads: 1, kvGroupNum: 4, headDim: 64, dtype: "f16", mask: "f32", maskPerHead: false },
  { numKvHeads: 1, kvGroupNum: 1, headDim: 128, dtype: "f32", mask: "f16", maskPerHead: false },
  { numKvHeads: 1, kvGroupNum: 2, headDim: 256, dtype: "f16", mask: "bool", maskPerHead: false },
];

function randomSizes(random: Random): Sizes {
  const bsz = random.int(1, 4);
  const longest = random.pick([0, 3, 17, 70, 150]);
  const kvSeqLen = Array.from({ length: bsz }, () => random.int(0, longest));
  return {
    bsz,
    qLen: random.pick([1, 2, 3, 5, 7, 16, random.int(1, 33)]),
    kvSeqLen,
    ...(random.next() < 0.5 ? { pageSize: random.pick([1, 4, 16, 23]) } : {}),
    ...(random.next() < 0.5 ? { maskBatches: random.pick([1, bsz]) } : {}),
    options: {
      blockSize: random.pick([1, 16, 64, 100]),
      ...(random.next() < 0.3 ? { smScale: random.int(-8, 8) / 16 } : {}),
      ...(random.next() < 0.3 ? { maxSeqLenInBatch: Math.max(...kvSeqLen) } : {}),
    },
  };
}

describe.each(ADAPTER === "gpu" ? [...FAMILIES, MATRIX] : FAMILIES)(
  "flashDecodingAttention, $name family, $storage",
  (family) => {
    beforeEach(({ skip }) => {
      skip(family.name === "matrix" && !test.traits.matrices, "the adapter has no subgroup matrices");
    });

    it("any shape, layout, mask and type (property)", async () => {
      const property = fc.asyncProperty(fc.integer(), fc.constantFrom(...KINDS), async (seed, kind) => {
        const random = new Random(seed);
        const call = randomCall(random, kind, randomSizes(random));
        const result = await runFlashDecoding(test.context(family), checkArguments(call.args));
        expectResult(result, call, JSON.stringify(kind));
      });
      await fc.assert(property, { numRuns: family.name === "subgroup" ? 40 : 300, seed: 7 });
    });
  },
);
