import { describe, expect, it } from "vitest";
import {
  addRmsNorm,
  BufferPool,
  commitKv,
  embedding,
  embeddingTable,
  kvLayout,
  packRows,
  ropeKv,
  ropeTable,
  siluMul,
  storageBytes,
} from "../../../kernels/index.ts";
import { rmsNormReference } from "../../../kernels/reference/add-rms-norm.ts";
import { commitKvReference } from "../../../kernels/reference/commit-kv.ts";
import { embeddingReference } from "../../../kernels/reference/embedding.ts";
import { packKv, quantizeKv } from "../../../kernels/reference/kv-q8.ts";
import { rotate } from "../../../kernels/reference/rope.ts";
import { siluMulReference } from "../../../kernels/reference/silu-mul.ts";
import { expectClose, firstDifferentBits, uniform, uniformHalves } from "../../support/arrays.ts";
import { call, FAMILIES, readF32, readStored, readU32, submit, useGpu } from "../../support/gpu.ts";
import { cutHeads } from "../../support/kv-shards.ts";
import { emptyActivation, foldRanges, givenProduct, readActivation } from "../../support/products.ts";
import { Random } from "../../support/random.ts";

const test = useGpu();

describe.each(FAMILIES)("$name family, $storage", (family) => {
  const random = new Random(1);

  it.each([4, 8, 12, 64, 260, 516, 2048])(
    "add a product and norm %i columns, rows chosen by index",
    async (hiddenSize) => {
      const gpu = test.context(family);
      const numRows = random.int(2, 9);
      const rows = random.shuffle(Array.from({ length: numRows }, (_, i) => i)).slice(0, random.int(1, numRows));
      // A row of zeros and one of huge values are among the rows: epsilon decides the first, overflow threatens the other.
      const x = uniform(random, numRows * hiddenSize, 3).fill(0, 0, hiddenSize);
      for (let i = (numRows - 1) * hiddenSize; i < x.length; i++) x[i] = (x[i] ?? 0) * 1e15;
      const ranges = Array.from({ length: random.int(1, 5) }, () => uniform(random, x.length).fill(0, 0, hiddenSize));
      const gain = uniform(random, hiddenSize, 2);
      const epsilon = 1e-5;
      const hidden = gpu.pool.upload(x, "hidden");
      const out = emptyActivation(gpu, rows.length, hiddenSize);
      const op = await addRmsNorm(gpu, {
        ...{ hiddenSize, epsilon, hidden, gain: gpu.pool.upload(gain, "gain"), out },
        product: givenProduct(gpu, ranges, { numOutputs: hiddenSize }),
        rowIndex: gpu.pool.upload(Uint32Array.from(rows), "rows"),
      });
      await submit(gpu, [call(op, { numRows: rows.length })]);
      const added = foldRanges([x, foldRanges(ranges)]);
      const after = await readF32(gpu, hidden, x.length);
      for (let row = 0; row < numRows; row++) {
        const [from, to] = [row * hiddenSize, (row + 1) * hiddenSize];
        const expected = rows.includes(row) ? added : x;
        expect(after.subarray(from, to)).toEqual(expected.subarray(from, to));
      }
      const chosen = embeddingReference(added, hiddenSize, Uint32Array.from(rows));
      // A sum of n positive squares has a relative error of at most n · 2⁻²⁴, of which the root keeps half; 4 roundings follow.
      const relative = (hiddenSize / 8 + 8) * 2 ** -24;
      const normed = await readActivation(gpu, out, rows.length);
      expectClose(normed, rmsNormReference(chosen, gain, epsilon), { relative }, "out");
    },
  );

  it.each([8, 516, 2048])(
    "a row's norm of %i columns has the same bits alone and beside 127 others",
    async (hiddenSize) => {
      const gpu = test.context(family);
      const x = uniform(random, 128 * hiddenSize);
      const gain = gpu.pool.upload(uniform(random, hiddenSize), "gain");
      const normed = async (rows: readonly number[]) => {
        const out = emptyActivation(gpu, rows.length, hiddenSize);
        const rowIndex = gpu.pool.upload(Uint32Array.from(rows), "rows");
        const hidden = gpu.pool.upload(x, "hidden");
        const op = await addRmsNorm(gpu, { hiddenSize, epsilon: 1e-6, hidden, gain, rowIndex, out });
        await submit(gpu, [call(op, { numRows: rows.length })]);
        return readActivation(gpu, out, rows.length);
      };
      const all = await normed(Array.from({ length: 128 }, (_, i) => i));
      for (const row of [0, 3, 64, 127]) {
        const together = all.subarray(row * hiddenSize, (row + 1) * hiddenSize);
        expect(firstDifferentBits(await normed([row]), together)).toBe(-1);
      }
    },
  );

  it("a grid of more workgroups than a dimension holds reaches every row", async () => {
    const gpu = test.context(family);
    const [intermediateSize, numRows] = [4096, 2100];
    const row = uniform(random, 2 * intermediateSize, 4);
    const gateUp = new Float32Array(numRows * row.length);
    for (let i = 0; i < numRows; i++) gateUp.set(row, i * row.length);
    const product = givenProduct(gpu, [gateUp], { numOutputs: row.length });
    const out = emptyActivation(gpu, numRows, intermediateSize);
    await submit(gpu, [call(await siluMul(gpu, { gateUp: product, out }), { numRows })]);
    const all = await readActivation(gpu, out, numRows);
    const first = all.subarray(0, intermediateSize);
    for (let i = 1; i < numRows; i++) {
      const other = all.subarray(i * intermediateSize, (i + 1) * intermediateSize);
      if (firstDifferentBits(first, other) >= 0) expect.fail(`row ${i} differs from the first`);
    }
    expectClose(first, siluMulReference(row, intermediateSize), { absolute: 1e-5 }, "first row");
    for (const { buffer } of [product, out]) gpu.pool.destroy(buffer);
  });

  it.each([4, 36, 344, 1024])("silu · up of %i columns, far into both tails", async (intermediateSize) => {
    const gpu = test.context(family);
    const numRows = random.int(1, 7);
    const size = 2 * numRows * intermediateSize;
    const tails = [-200, -88, 0, 88];
    const ranges = [uniform(random, size, 10), uniform(random, size, 10).fill(0, 0, tails.length)];
    ranges[0]?.set(tails);
    const gateUp = foldRanges(ranges);
    const product = givenProduct(gpu, ranges, { numOutputs: 2 * intermediateSize });
    const out = emptyActivation(gpu, numRows, intermediateSize);
    await submit(gpu, [call(await siluMul(gpu, { gateUp: product, out }), { numRows })]);
    // WGSL gives exp(x) 3 + 2·|x| ulp, and the tail's result is all exp.
    const tolerance = { absolute: 1e-30, relative: (3 + 2 * 20 + 8) * 2 ** -23 };
    const expected = siluMulReference(gateUp, intermediateSize);
    expectClose(await readActivation(gpu, out, numRows), expected, tolerance, "out");
  });

  it.each([4, 24, 256])("embedding of %i columns: exact", async (hiddenSize) => {
    const gpu = test.context(family);
    const values = uniformHalves(random, 50 * hiddenSize);
    // In two parts: of 32 tokens and of the rest.
    const pool = new BufferPool(gpu.device, 40 * hiddenSize * storageBytes(family));
    const table = embeddingTable(pool, 50, hiddenSize * storageBytes(family), (first, count) =>
      pool.upload(packRows(family, values.subarray(first * hiddenSize, (first + count) * hiddenSize)), "table"),
    );
    expect(table.map(({ firstToken, numTokens }) => [firstToken, numTokens])).toEqual([
      [0, 32],
      [32, 18],
    ]);
    const tokenIds = Uint32Array.from({ length: random.int(1, 40) }, () => random.int(0, 49));
    const hidden = gpu.pool.storage(4 * tokenIds.length * hiddenSize, "hidden");
    const op = await embedding(gpu, {
      ...{ hiddenSize, hidden, table },
      tokenIds: gpu.pool.upload(tokenIds, "tokenIds"),
    });
    await submit(gpu, [call(op, { numRows: tokenIds.length })]);
    const expected = embeddingReference(values, hiddenSize, tokenIds);
    expect(await readF32(gpu, hidden, expected.length)).toEqual(expected);
    pool.destroyAll();
  });

  it.each([
    { numHeads: 1, numKvHeads: 1, headDim: 8, numShards: 1 },
    { numHeads: 6, numKvHeads: 2, headDim: 24, numShards: 1 },
    { numHeads: 6, numKvHeads: 2, headDim: 24, numShards: 2 },
    { numHeads: 4, numKvHeads: 4, headDim: 8, numShards: 2 },
    { numHeads: 4, numKvHeads: 1, headDim: 128, numShards: 1 },
    { numHeads: 2, numKvHeads: 2, headDim: 256, numShards: 1 },
  ])("rotary embedding and K/V writes, %o", async ({ numShards, ...heads }) => {
    const gpu = test.context(family);
    const cut = { numKvHeads: heads.numKvHeads, headSize: heads.headDim, numShards };
    const { numHeads, numKvHeads, headDim } = heads;
    const [numRows, maxPositions, numSlots] = [random.int(1, 9), 5000, 40];
    const allHeads = numHeads + 2 * numKvHeads;
    const frequencies = Float64Array.from({ length: headDim / 2 }, (_, i) => 10_000 ** ((-2 * i) / headDim));
    const ranges = [1, 2].map(() => uniformHalves(random, numRows * allHeads * headDim));
    const qkv = foldRanges(ranges);
    const positions = Array.from({ length: numRows }, (_, row) => (row === 0 ? 4999 : random.int(0, 4999)));
    const slots = random.shuffle(Array.from({ length: numSlots }, (_, i) => i)).slice(0, numRows);
    const caches = [1, 2].map(() => uniformHalves(random, numSlots * numKvHeads * headDim));
    const [keys = [], values = []] = caches.map((cache) =>
      cutHeads(cache, cut).map((part) => gpu.pool.upload(packRows(family, part), "cache")),
    );
    const q = gpu.pool.storage(4 * numRows * numHeads * headDim, "q");
    const op = await ropeKv(gpu, heads, {
      ...{ q, shards: keys.map((kCache, i) => ({ kCache, vCache: values[i] ?? kCache })) },
      ...{ rope: gpu.pool.upload(ropeTable(frequencies, maxPositions), "rope") },
      rowInfo: gpu.pool.upload(Uint32Array.from(positions.flatMap((p) => [0, p, p + 1, 0])), "rowInfo"),
      slots: gpu.pool.upload(Uint32Array.from(slots), "slots"),
      qkv: givenProduct(gpu, ranges, { numOutputs: allHeads * headDim }),
    });
    await submit(gpu, [call(op, { numRows })]);

    const [kExpected, vExpected] = caches.map((cache) => Float64Array.from(cache)) as [Float64Array, Float64Array];
    const qExpected = new Float64Array(numRows * numHeads * headDim);
    for (let row = 0; row < numRows; row++) {
      for (let head = 0; head < allHeads; head++) {
        const at = (row * allHeads + head) * headDim;
        const vector = qkv.subarray(at, at + headDim);
        const rotated = rotate(vector, frequencies, positions[row] ?? 0);
        const to = (slots[row] ?? 0) * numKvHeads;
        if (head < numHeads) qExpected.set(rotated, (row * numHeads + head) * headDim);
        else if (head < numHeads + numKvHeads) kExpected.set(rotated, (to + head - numHeads) * headDim);
        else vExpected.set(vector, (to + head - numHeads - numKvHeads) * headDim);
      }
    }
    // |values| < 4: table, two products and a sum, half an ulp each.
    const tolerance = { absolute: 12 * 2 ** -24 };
    expectClose(await readF32(gpu, q, qExpected.length), qExpected, tolerance, "q");
    // Halves keep 11 bits.
    const stored = family.storage === "f16" ? { absolute: tolerance.absolute, relative: 2 ** -11 } : tolerance;
    for (const [buffers, all, allowed] of [
      [keys, kExpected, stored],
      [values, vExpected, {}],
    ] as const) {
      for (const [i, part] of cutHeads(all, cut).entries()) {
        expectClose(await readStored(gpu, buffers[i] ?? q, part.length), part, allowed, `cache, shard ${i}`);
      }
    }
  });

  it.each([4, 12, 256, 1028])("commit of slots of %i values: overlapping moves in order, exact", async (slotSize) => {
    const gpu = test.context(family);
    const [numSlots, numSections] = [60, 3];
    const numValues = numSlots * slotSize;
    const caches = [1, 2].map(() => uniformHalves(random, numSections * numValues));
    // Accepted paths below slots 10 and 40: targets are sources of nothing later, but sources are earlier targets' neighbours.
    const lists = [
      [2, 5, 6, 9].map((node, depth) => [10 + node, 11 + depth] as const),
      [
        [40, 41],
        [41, 42],
        [43, 43],
        [0, 0],
      ],
    ] as const;
    const [kCache, vCache] = caches.map((cache) => gpu.pool.upload(packRows(family, cache), "cache")) as [
      GPUBuffer,
      GPUBuffer,
    ];
    const moves = gpu.pool.upload(Uint32Array.from([...lists, [0, 59]].flat(2)), "moves");
    const commit = await commitKv(gpu, {
      ...{ numSections, kCache, vCache, moves, layout: kvLayout(family, { numKvHeads: 1, headDim: slotSize }) },
      sectionBytes: numValues * storageBytes(family),
    });
    await submit(gpu, [(pass) => commit(pass, 2, 4), (pass) => commit(pass, 1, 0), (pass) => commit(pass, 0, 4)]);
    for (const [i, buffer] of [kCache, vCache].entries()) {
      const stored = await readStored(gpu, buffer, numSections * numValues);
      for (let section = 0; section < numSections; section++) {
        const before = caches[i]?.subarray(section * numValues, (section + 1) * numValues) ?? new Float32Array();
        const after = stored.subarray(section * numValues, (section + 1) * numValues);
        expect(after).toEqual(commitKvReference(before, slotSize, lists.flat()));
      }
    }
  });

  it("rotary embedding and K/V writes in 8 bits: scales and integers of the reference, within a rounding", async () => {
    const gpu = { ...test.context(family), family: { ...family, kv: "q8" as const } };
    const heads = { numHeads: 4, numKvHeads: 2, headDim: 24 };
    const { numHeads, numKvHeads, headDim } = heads;
    const [numRows, numSlots, allHeads] = [5, 9, numHeads + 2 * numKvHeads];
    const frequencies = Float64Array.from({ length: headDim / 2 }, (_, i) => 100 ** ((-2 * i) / headDim));
    const qkv = uniformHalves(random, numRows * allHeads * headDim);
    // A head of zeros has a scale of zero.
    qkv.fill(0, (allHeads - 1) * headDim, allHeads * headDim);
    const slots = random.shuffle(Array.from({ length: numSlots }, (_, i) => i)).slice(0, numRows);
    const old = uniformHalves(random, numSlots * numKvHeads * headDim);
    const [kCache, vCache] = [0, 1].map(() => gpu.pool.upload(packKv(old, headDim), "cache")) as [GPUBuffer, GPUBuffer];
    const op = await ropeKv(gpu, heads, {
      ...{ shards: [{ kCache, vCache }], q: gpu.pool.storage(4 * numRows * numHeads * headDim, "q") },
      rope: gpu.pool.upload(ropeTable(frequencies, 64), "rope"),
      rowInfo: gpu.pool.upload(Uint32Array.from(slots.flatMap((_, row) => [0, 7 * row, 7 * row + 1, 0])), "rowInfo"),
      slots: gpu.pool.upload(Uint32Array.from(slots), "slots"),
      qkv: givenProduct(gpu, [qkv], { numOutputs: allHeads * headDim }),
    });
    await submit(gpu, [call(op, { numRows })]);
    for (const [first, cache] of [
      [numHeads, kCache],
      [numHeads + numKvHeads, vCache],
    ] as const) {
      const expected = old.slice();
      for (const [row, slot] of slots.entries()) {
        for (let head = 0; head < numKvHeads; head++) {
          const at = (row * allHeads + first + head) * headDim;
          const vector = qkv.subarray(at, at + headDim);
          const written = first === numHeads ? rotate(vector, frequencies, 7 * row) : vector;
          expected.set(written, (slot * numKvHeads + head) * headDim);
        }
      }
      const words = await readU32(gpu, cache, numSlots * numKvHeads * (1 + headDim / 4));
      const [actual, wanted] = [unpackKv(words, headDim), quantizeKv(expected, headDim)];
      expectClose(actual.scales, wanted.scales, { relative: 2 ** -20 }, "scales");
      expectClose(actual.quants, wanted.quants, { absolute: 1 }, "quants");
      const numOff = actual.quants.filter((quant, i) => quant !== wanted.quants[i]).length;
      expect(numOff).toBeLessThan(actual.quants.length / 100);
    }
  });

  it("commit of slots in 8 bits: exact", async () => {
    const gpu = { ...test.context(family), family: { ...family, kv: "q8" as const } };
    const layout = kvLayout(gpu.family, { numKvHeads: 3, headDim: 8 });
    expect(layout).toEqual({ element: "u32", elementBytes: 4, numElements: 9 });
    const [numSlots, numSections] = [20, 2];
    // Sections may be padded.
    const sectionWords = numSlots * 9 + 12;
    const before = Float32Array.from({ length: numSections * sectionWords }, () => random.int(0, 2 ** 24 - 1));
    const [kCache, vCache] = [1, 2].map(() => gpu.pool.upload(Uint32Array.from(before), "cache")) as [
      GPUBuffer,
      GPUBuffer,
    ];
    const moves = gpu.pool.upload(Uint32Array.of(7, 5, 9, 6, 19, 7), "moves");
    const commit = await commitKv(gpu, { numSections, kCache, vCache, moves, layout, sectionBytes: 4 * sectionWords });
    await submit(gpu, [(pass) => commit(pass, 1, 3)]);
    const pairs = [[7, 5] as const, [9, 6] as const, [19, 7] as const];
    const expected = Array.from({ length: numSections }, (_, section) => [
      ...commitKvReference(before.slice(section * sectionWords, (section + 1) * sectionWords), 9, pairs),
    ]);
    for (const cache of [kCache, vCache]) {
      expect([...(await readU32(gpu, cache, before.length))]).toEqual(expected.flat());
    }
  });
});

/** What `packKv` packs. */
function unpackKv(words: Uint32Array, headDim: number): ReturnType<typeof quantizeKv> {
  const headWords = 1 + headDim / 4;
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const bytes = new Int8Array(words.buffer, words.byteOffset, 4 * words.length);
  return {
    scales: floats.filter((_, i) => i % headWords === 0),
    quants: bytes.filter((_, i) => i % (4 * headWords) >= 4),
  };
}
