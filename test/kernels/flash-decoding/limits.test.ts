import { describe, expect, it } from "vitest";
import { checkArguments } from "../../../kernels/flash-decoding/arguments.ts";
import { runFlashDecoding } from "../../../kernels/flash-decoding/run.ts";
import { type FlashDecodingArgs, flashDecodingAttention, fromHalf, type Tensor } from "../../../kernels/index.ts";
import { bitsOf } from "../../support/arrays.ts";
import { FAMILIES, readU32, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { expectResult, type Kind, randomCall, type Sizes } from "./case.ts";

const test = useGpu();
const [FAMILY] = FAMILIES;
const PLAIN: Kind = { numKvHeads: 2, kvGroupNum: 1, headDim: 16, dtype: "f32", mask: "bool", maskPerHead: false };

const run = (args: FlashDecodingArgs) => runFlashDecoding(test.context(FAMILY), checkArguments(args));

async function expectRight(kind: Kind, sizes: Sizes, seed = 1): Promise<void> {
  const call = randomCall(new Random(seed), kind, sizes);
  expectResult(await run(call.args), call, JSON.stringify(sizes));
}

describe("what the public Triton version cannot do", () => {
  it.each([1, 3, 15, 17, 33])("%i rows: not a power of two, or below 16", async (qLen) => {
    await expectRight(PLAIN, { bsz: 1, qLen, kvSeqLen: [40] });
  });

  it.each([3, 5, 7])("%i sequences: not a power of two", async (bsz) => {
    await expectRight(PLAIN, { bsz, qLen: 2, kvSeqLen: Array.from({ length: bsz }, (_, b) => 5 * b) });
  });

  it("grouped KV heads in the tree part", async () => {
    await expectRight({ ...PLAIN, kvGroupNum: 3 }, { bsz: 2, qLen: 20, kvSeqLen: [0, 3] });
  });

  it.each([1, 63, 65, 127, 129])("%i cached keys: nothing is read past the last block", async (length) => {
    const call = randomCall(new Random(2), PLAIN, { bsz: 2, qLen: 3, kvSeqLen: [length, Math.floor(length / 2)] });
    const { pageSize, kCache, vCache } = { ...call.args, pageSize: call.args.kCache.shape[2] ?? 0 };
    for (const cache of [kCache.data, vCache.data] as Float32Array[]) {
      const used = [length, Math.floor(length / 2)];
      for (let page = 0; page < 4; page++) {
        const end = (page + 1) * pageSize * PLAIN.headDim;
        cache.fill(Number.NaN, end - (pageSize - (used[Math.floor(page / 2)] ?? 0)) * PLAIN.headDim, end);
      }
    }
    expectResult(await run(call.args), call, `${length} cached keys`);
  });

  it("empty prefixes and fully masked rows give zeros, not NaN", async () => {
    const call = randomCall(new Random(3), { ...PLAIN, mask: "f32" }, { bsz: 2, qLen: 4, kvSeqLen: [0, 0] });
    const mask = { data: new Float32Array(16).fill(Number.NEGATIVE_INFINITY), shape: [4, 4] };
    for (const row of [0, 1, 2]) mask.data[4 * row + row] = row === 2 ? Number.NEGATIVE_INFINITY : 0;
    const { data } = await run({ ...call.args, mask });
    const rows = Array.from({ length: 16 }, (_, row) => (data as Float32Array).subarray(row * 16, (row + 1) * 16));
    const current = call.args.currentV.data as Float32Array;
    rows.forEach((values, i) => {
      const row = i % 4;
      expect(Array.from(values)).toEqual(
        row < 2 ? Array.from(current.subarray(i * 16, (i + 1) * 16)) : Array(16).fill(0),
      );
    });
  });

  it("single precision all the way: an additive mask of f32 tells scores apart that halves do not", async () => {
    await expectRight({ ...PLAIN, mask: "f32" }, { bsz: 1, qLen: 5, kvSeqLen: [7] });
    const call = randomCall(new Random(4), { ...PLAIN, mask: "f32" }, { bsz: 1, qLen: 1, kvSeqLen: [1] });
    const withBias = async (bias: number) => {
      const { data } = await run({ ...call.args, mask: { data: Float32Array.of(bias), shape: [1, 1] } });
      return bitsOf(data as Float32Array);
    };
    expect(await withBias(2)).not.toEqual(await withBias(2 + 2 ** -16));
  });

  it("huge negative biases are biases: rows that have nothing better share them", async () => {
    const call = randomCall(new Random(5), { ...PLAIN, mask: "f32" }, { bsz: 1, qLen: 2, kvSeqLen: [0] });
    const lowest = -3.4028234663852886e38;
    const { data } = await run({ ...call.args, mask: { data: new Float32Array(4).fill(lowest), shape: [2, 2] } });
    const values = call.args.currentV.data as Float32Array;
    const mean = values.slice(0, 16).map((value, d) => (value + (values[16 + d] ?? 0)) / 2);
    expect(Array.from((data as Float32Array).subarray(0, 16))).toEqual(Array.from(mean));
  });
});

describe("where tensors lie", () => {
  const sizes: Sizes = { bsz: 2, qLen: 5, kvSeqLen: [300, 270], pageSize: 16, options: { blockSize: 64 } };
  const kind: Kind = { ...PLAIN, dtype: "f16", kvGroupNum: 2 };

  /** The same call with all tensors on the device. */
  function onDevice(args: FlashDecodingArgs): FlashDecodingArgs {
    const { pool } = test.context(FAMILY);
    const types = { Float32Array: "f32", Uint16Array: "f16", Int32Array: "i32", Uint8Array: "bool" } as const;
    const moved = Object.entries(args).map(([name, value]): [string, unknown] => {
      if (typeof value !== "object") return [name, value];
      const { data, shape } = value as Tensor & { data: Uint8Array<ArrayBuffer> };
      const bytes = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
      bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      const dtype = types[data.constructor.name as keyof typeof types];
      return [name, { data: pool.upload(bytes, name), shape, dtype }];
    });
    return Object.fromEntries(moved) as unknown as FlashDecodingArgs;
  }

  it("on a device: the host's bits, in a buffer", async () => {
    const call = randomCall(new Random(6), kind, sizes);
    const host = await run(call.args);
    const device = await run(onDevice(call.args));
    expect(device).toMatchObject({ shape: host.shape, dtype: "f16" });
    const words = await readU32(test.context(FAMILY), device.data as GPUBuffer, (host.data as Uint16Array).length / 2);
    expect(new Uint16Array(words.buffer)).toEqual(host.data);
    expectResult(host, call, "host");
    (device.data as GPUBuffer).destroy();
  });

  it("the caller's output and scratch are written", async () => {
    const call = randomCall(new Random(7), kind, { ...sizes, kvSeqLen: [600, 0] });
    const context = test.context(FAMILY);
    const args = onDevice(call.args);
    const numBlocks = Math.ceil(608 / 64) + 1;
    const buffer = (bytes: number) => context.pool.storage(bytes, "callers");
    const tensor = (shape: number[], dtype: "f32" | "f16"): Tensor => ({
      ...{ shape, dtype, data: buffer(4 * shape.reduce((a, b) => a * b)) },
    });
    const output = tensor([2, 4, 5, 16], "f16");
    const midOutput = tensor([2, 5, 4, numBlocks, 16], "f32");
    const midOutputLse = tensor([2, 5, 4, numBlocks, 2], "f32");
    const result = await run({ ...args, output, midOutput, midOutputLse });
    expect(result.data).toBe(output.data);
    const words = await readU32(context, output.data as GPUBuffer, 2 * 4 * 5 * 8);
    expectResult({ data: new Uint16Array(words.buffer), shape: result.shape }, call, "output");
    // More than one split: maxima and sums of the first row and head are there, and sums are at least 1.
    const [, sum] = new Float32Array((await readU32(context, midOutputLse.data as GPUBuffer, 2)).buffer);
    expect(sum).toBeGreaterThanOrEqual(1);
  });

  it("the caller's typed array is filled and returned", async () => {
    const call = randomCall(new Random(8), kind, sizes);
    const output = { data: new Uint16Array(2 * 4 * 5 * 16).fill(0x7e00), shape: [2, 4, 5, 16] };
    const result = await run({ ...call.args, output });
    expect(result.data).toBe(output.data);
    expectResult(result, call, "output");
  });

  it("lengths and pages beyond the cache, known to the device alone, are capped", async () => {
    const call = randomCall(new Random(9), PLAIN, { bsz: 1, qLen: 2, kvSeqLen: [20], pageSize: 4 });
    const args = onDevice(call.args);
    const upload = (data: Int32Array<ArrayBuffer>) => test.context(FAMILY).pool.upload(data, "wild");
    const numPages = args.kCache.shape[0] ?? 0;
    const table = (pages: number[]) => ({ data: upload(Int32Array.from(pages)), shape: [1, 5], dtype: "i32" as const });
    const wild = await run({
      ...args,
      kvSeqLen: { ...args.kvSeqLen, data: upload(Int32Array.of(1 << 30)) },
      blockTable: table([1 << 20, 0, -1, 1, 2]),
    });
    const tame = await run({ ...args, blockTable: table([numPages - 1, 0, numPages - 1, 1, 2]) });
    const bits = ({ data }: Tensor) => readU32(test.context(FAMILY), data as GPUBuffer, 2 * 2 * 16);
    expect(await bits(wild)).toEqual(await bits(tame));
  });

  it("buffers that do not fit are named", () => {
    const call = randomCall(new Random(13), PLAIN, { bsz: 1, qLen: 2, kvSeqLen: [3] });
    const args = onDevice(call.args);
    const { device } = test.context(FAMILY);
    const check = (changes: Partial<FlashDecodingArgs>) => () => checkArguments({ ...args, ...changes });
    const { data, shape } = args.currentV;
    expect(check({ currentV: { data, shape } })).toThrow("currentV: a GPUBuffer without dtype, expected f32");
    expect(check({ q: { ...args.q, shape: [64, 2, 2, 16] } })).toThrow(
      "q: a buffer of 256 bytes, expected at least 16384",
    );
    expect(check({ currentV: call.args.currentV })).toThrow("currentV: a typed array, expected as q: a GPUBuffer");
    const unusable = device.createBuffer({ size: 256, usage: GPUBufferUsage.COPY_SRC });
    expect(check({ currentK: { ...args.currentK, data: unusable } })).toThrow(
      "currentK: a buffer of usage 4, expected usage STORAGE among others",
    );
    unusable.destroy();
  });

  it("buffers need their device to be named", async () => {
    const call = randomCall(new Random(14), PLAIN, { bsz: 1, qLen: 1, kvSeqLen: [1] });
    await expect(flashDecodingAttention(onDevice(call.args))).rejects.toThrow("device: missing");
    const { device } = test.context(FAMILY);
    const { data } = await flashDecodingAttention({ ...onDevice(call.args), device });
    const words = await readU32(test.context(FAMILY), data as GPUBuffer, 2 * 16);
    expectResult({ data: new Float32Array(words.buffer), shape: [] }, call, "on the caller's device");
  });

  it("nothing to compute: an empty result", async () => {
    const call = randomCall(new Random(10), PLAIN, { bsz: 0, qLen: 3, kvSeqLen: [] });
    expect(await run(call.args)).toMatchObject({ shape: [0, 2, 3, 16] });
  });

  it("the split into blocks changes no result beyond rounding", async () => {
    const call = randomCall(new Random(11), kind, { ...sizes, kvSeqLen: [700, 513] });
    for (const blockSize of [1, 7, 64, 500, 5000]) {
      expectResult(await run({ ...call.args, blockSize }), call, `blocks of ${blockSize}`);
    }
  });

  it("halves are read as halves: subnormal ones too", async () => {
    const call = randomCall(new Random(12), { ...PLAIN, dtype: "f16" }, { bsz: 1, qLen: 1, kvSeqLen: [0] });
    const values = call.args.currentV.data as Uint16Array;
    values.fill(0x0001);
    const result = await run({ ...call.args, mask: { data: Uint8Array.of(1), shape: [1, 1] } });
    expect(new Set(fromHalf(result.data as Uint16Array))).toEqual(new Set([2 ** -24]));
  });
});
