import { describe, expect, it } from "vitest";
import { commitKv, kvLayout, packRows, ropeKv, ropeTable, storageBytes } from "../../../kernels/index.ts";
import { commitKvReference } from "../../../kernels/reference/commit-kv.ts";
import { packKv, quantizeKv } from "../../../kernels/reference/kv-q8.ts";
import { rotate } from "../../../kernels/reference/rope.ts";
import { expectClose, uniformHalves } from "../../support/arrays.ts";
import { call, FAMILIES, readF32, readStored, readU32, submit, useGpu } from "../../support/gpu.ts";
import { cutHeads } from "../../support/kv-shards.ts";
import { foldRanges, givenProduct } from "../../support/products.ts";
import { Random } from "../../support/random.ts";

const test = useGpu();

describe.each(FAMILIES)("$name family, $storage", (family) => {
  const random = new Random(1);

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

  it("what the cache cannot hold becomes its largest: 0 · ∞ would be no number in other rows' sums", async () => {
    const gpu = test.context(family);
    const qkv = Float32Array.from({ length: 24 }, (_, i) => (i < 16 ? 1 : ([Infinity, -Infinity][i % 2] ?? 1)));
    const [kCache, vCache] = [1, 2].map(() => gpu.pool.storage(8 * storageBytes(family), "cache")) as [
      GPUBuffer,
      GPUBuffer,
    ];
    const op = await ropeKv(
      gpu,
      { numHeads: 1, numKvHeads: 1, headDim: 8 },
      {
        ...{ q: gpu.pool.storage(32, "q"), shards: [{ kCache, vCache }] },
        rope: gpu.pool.upload(ropeTable(Float64Array.of(1, 0.1, 0.01, 0.001), 1), "rope"),
        rowInfo: gpu.pool.upload(Uint32Array.of(0, 0, 1, 0), "rowInfo"),
        slots: gpu.pool.upload(Uint32Array.of(0), "slots"),
        qkv: givenProduct(gpu, [qkv], { numOutputs: 24 }),
      },
    );
    await submit(gpu, [call(op, { numRows: 1 })]);
    const largest = family.storage === "f16" ? 65504 : Math.fround(3.4e38);
    const values = await readStored(gpu, vCache, 8);
    expect([...values]).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((i) => (i % 2 === 0 ? largest : -largest)));
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
