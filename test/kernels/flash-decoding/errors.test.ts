import { describe, expect, it } from "vitest";
import { checkArguments } from "../../../kernels/flash-decoding/arguments.ts";
import { ArgumentError, type FlashDecodingArgs, flashDecodingAttention, type Tensor } from "../../../kernels/index.ts";

const f32 = (...shape: number[]): Tensor => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)), shape });

const VALID: FlashDecodingArgs = {
  q: f32(2, 4, 3, 16),
  kCache: f32(2, 2, 10, 16),
  vCache: f32(2, 2, 10, 16),
  currentK: f32(2, 2, 3, 16),
  currentV: f32(2, 2, 3, 16),
  mask: { data: new Uint8Array(9), shape: [3, 3] },
  kvSeqLen: { data: Int32Array.of(10, 0), shape: [2] },
  kvGroupNum: 2,
};
const PAGED: Partial<FlashDecodingArgs> = {
  kCache: f32(3, 2, 4, 16),
  vCache: f32(3, 2, 4, 16),
  blockTable: { data: Int32Array.of(0, 2, 1, 1), shape: [2, 2] },
  kvSeqLen: { data: Int32Array.of(8, 3), shape: [2] },
};

function thrownBy(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe("wrong arguments are named, with what they were and what was expected", () => {
  it.each<[string, Partial<Record<keyof FlashDecodingArgs, unknown>>, string]>([
    ["no tensor", { q: undefined }, "q: no tensor, expected { data, shape, dtype? }"],
    [
      "an array of numbers",
      { q: { data: [1], shape: [1] } },
      "q: data of type Array, expected Float32Array, Uint16Array, Int32Array, Uint8Array or GPUBuffer",
    ],
    ["rank", { q: f32(2, 4, 16) }, "q: shape [2, 4, 16], expected [any, any, any, any] (bsz, numHeads, qLen, headDim)"],
    [
      "a fraction",
      { q: { data: new Float32Array(0), shape: [1.5, 4, 3, 16] } },
      "q: shape [1.5, 4, 3, 16], expected [any, any, any, any] (bsz, numHeads, qLen, headDim)",
    ],
    [
      "a type that q cannot have",
      { q: { data: new Int32Array(16), shape: [1, 1, 1, 16] } },
      "q: dtype i32, expected f32 or f16",
    ],
    [
      "a claim against the array's type",
      { q: { ...VALID.q, dtype: "f16" } },
      "q: Float32Array with dtype f16, expected dtype f32 or none",
    ],
    [
      "too few elements",
      { q: { data: new Float32Array(5), shape: [2, 4, 3, 16] } },
      "q: 5 elements, expected 384 for shape [2, 4, 3, 16]",
    ],
    ["head size 12", { q: f32(2, 4, 3, 12) }, "q: headDim 12, expected a multiple of 8 from 8 to 256"],
    ["head size 264", { q: f32(1, 1, 1, 264) }, "q: headDim 264, expected a multiple of 8 from 8 to 256"],
    ["a group that does not divide", { kvGroupNum: 3 }, "kvGroupNum: 3, expected a divisor of numHeads, which is 4"],
    ["group 0", { kvGroupNum: 0 }, "kvGroupNum: 0, expected an integer from 1"],
    [
      "another type",
      { kCache: { data: new Uint16Array(640), shape: [2, 2, 10, 16] } },
      "kCache: dtype f16, expected f32",
    ],
    [
      "heads of the cache",
      { kCache: f32(2, 4, 10, 16) },
      "kCache: shape [2, 4, 10, 16], expected [2, 2, any, 16] (bsz, numKvHeads, maxLen, headDim)",
    ],
    [
      "another cache for V",
      { vCache: f32(2, 2, 11, 16) },
      "vCache: shape [2, 2, 11, 16], expected [2, 2, 10, 16] (bsz, numKvHeads, maxLen, headDim)",
    ],
    [
      "current keys",
      { currentK: f32(2, 2, 4, 16) },
      "currentK: shape [2, 2, 4, 16], expected [2, 2, 3, 16] (bsz, numKvHeads, qLen, headDim)",
    ],
    [
      "current values",
      { currentV: f32(2, 3, 16) },
      "currentV: shape [2, 3, 16], expected [2, 2, 3, 16] (bsz, numKvHeads, qLen, headDim)",
    ],
    [
      "mask's sides",
      { mask: { data: new Uint8Array(12), shape: [3, 4] } },
      "mask: shape [3, 4], expected [3, 3] (qLen, qLen)",
    ],
    [
      "mask's heads",
      { mask: f32(1, 2, 3, 3) },
      "mask: shape [1, 2, 3, 3], expected [1, 4, 3, 3] (1 or bsz, 1 or numHeads, qLen, qLen)",
    ],
    [
      "mask's type",
      { mask: { data: new Int32Array(9), shape: [3, 3] } },
      "mask: dtype i32, expected bool or f32 or f16",
    ],
    ["lengths' type", { kvSeqLen: f32(2) }, "kvSeqLen: dtype f32, expected i32"],
    [
      "number of lengths",
      { kvSeqLen: { data: new Int32Array(3), shape: [3] } },
      "kvSeqLen: shape [3], expected [2] (bsz)",
    ],
    [
      "a length beyond the cache",
      { kvSeqLen: { data: Int32Array.of(3, 11), shape: [2] } },
      "kvSeqLen[1]: 11, expected 0 to 10",
    ],
    [
      "a negative length",
      { kvSeqLen: { data: Int32Array.of(-1, 1), shape: [2] } },
      "kvSeqLen[0]: -1, expected 0 to 10",
    ],
    ["a length beyond the most", { maxSeqLenInBatch: 9 }, "kvSeqLen[0]: 10, expected 0 to 9"],
    [
      "most beyond the cache",
      { maxSeqLenInBatch: 11 },
      "maxSeqLenInBatch: 11, expected at most 10, which the cache can hold of a sequence",
    ],
    [
      "a page that is not there",
      { ...PAGED, blockTable: { data: Int32Array.of(0, 3, 1, 1), shape: [2, 2] } },
      "blockTable[0, 1]: 3, expected a page from 0 to 2",
    ],
    [
      "table's shape",
      { ...PAGED, blockTable: { data: new Int32Array(2), shape: [2] } },
      "blockTable: shape [2], expected [2, any] (bsz, maxPages)",
    ],
    ["page size", { ...PAGED, pageSize: 16 }, "pageSize: 16, expected 4, as the shape of kCache says"],
    ["block size", { blockSize: 0.5 }, "blockSize: 0.5, expected an integer from 1"],
    ["scale", { smScale: Number.NaN }, "smScale: NaN, expected a finite number"],
    [
      "output's shape",
      { output: f32(2, 4, 16, 3) },
      "output: shape [2, 4, 16, 3], expected [2, 4, 3, 16] (bsz, numHeads, qLen, headDim)",
    ],
    ["scratch too small", { midOutput: f32(2, 3, 4, 1, 16) }, "midOutput: room for 1 blocks, expected at least 2"],
    [
      "scratch's shape",
      { midOutputLse: f32(2, 3, 4, 2, 1) },
      "midOutputLse: shape [2, 3, 4, 2, 1], expected [2, 3, 4, any, 2] (bsz, qLen, numHeads, numBlocks, elements)",
    ],
  ])("%s", (_, changes, message) => {
    const args = { ...VALID, ...changes } as FlashDecodingArgs;
    const error = thrownBy(() => checkArguments(args));
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error).toMatchObject({ message, argument: message.slice(0, message.indexOf(":")), code: "bad_argument" });
  });

  it("and what is right passes", () => {
    expect(checkArguments(VALID)).toMatchObject({ numKvHeads: 2, maxSeqLen: 10, numBlocks: 2, scale: 0.25 });
    expect(checkArguments({ ...VALID, ...PAGED })).toMatchObject({ pageSize: 4, numPages: 3, maxSeqLen: 8 });
  });

  it("the function itself refuses", async () => {
    await expect(flashDecodingAttention({ ...VALID, kvGroupNum: 3 })).rejects.toThrow(ArgumentError);
  });
});
