import { describe, expect, it } from "vitest";
import {
  addBias,
  commitFeatures,
  eagleInput,
  featureStore,
  gatherFeatures,
  gatherRows,
  keepFeatures,
  medusaBlock,
  OWN_FEATURE,
  packRows,
} from "../../../kernels/index.ts";
import { rmsNormReference } from "../../../kernels/reference/add-rms-norm.ts";
import { commitKvReference } from "../../../kernels/reference/commit-kv.ts";
import { addBiasReference, eagleInputReference } from "../../../kernels/reference/eagle.ts";
import { gatherFeaturesReference, keepFeaturesReference } from "../../../kernels/reference/features.ts";
import { gatherRowsReference } from "../../../kernels/reference/gather-rows.ts";
import { medusaBlockReference } from "../../../kernels/reference/medusa-block.ts";
import { expectClose, uniform, uniformHalves } from "../../support/arrays.ts";
import { readStore, uploadStore } from "../../support/feature-stores.ts";
import { call, FAMILIES, readF32, readU32, submit, useGpu } from "../../support/gpu.ts";
import { emptyActivation, foldRanges, givenProduct, readActivation } from "../../support/products.ts";
import { Random } from "../../support/random.ts";

const NUM_SLOTS = 48;

describe.each(FAMILIES)("kernels of drafters, $name, $storage", (family) => {
  const test = useGpu();
  const random = new Random(1);
  /** A rounding to storage, beside what the arithmetic loses. */
  const stored = family.storage === "f16" ? 2 ** -11 : 0;
  const someSlots = (count: number) => random.shuffle(Array.from({ length: NUM_SLOTS }, (_, i) => i)).slice(0, count);
  /** Values [NUM_SLOTS, size] in the midst of wider slots, which are cut into buffers of `width` columns. */
  const partOfSlots = (values: Float32Array, size: number, width?: number) => {
    const [stride, offset] = [size + 12, 8];
    const all = uniformHalves(random, NUM_SLOTS * stride);
    for (let slot = 0; slot < NUM_SLOTS; slot++) {
      all.set(values.subarray(slot * size, (slot + 1) * size), slot * stride + offset);
    }
    return { ...uploadStore(test.context(family), all, stride, width), offset, size };
  };
  const words = (values: readonly number[]) => test.context(family).pool.upload(Uint32Array.from(values), "words");

  it.each([
    { hiddenSize: 8, withNorm: false },
    { hiddenSize: 516, withNorm: false, width: 680 },
    { hiddenSize: 8, withNorm: true, width: 12 },
    { hiddenSize: 516, withNorm: true },
    { hiddenSize: 516, withNorm: true, width: 620 },
    { hiddenSize: 2048, withNorm: true },
  ])("features of $hiddenSize values are kept, norm: $withNorm, buffers of $width columns", async (setting) => {
    const { hiddenSize, withNorm, width } = setting;
    const gpu = test.context(family);
    const [numRows, size, offset] = [random.int(1, 9), 3 * hiddenSize, hiddenSize];
    const x = uniform(random, numRows * hiddenSize, 3);
    const ranges = [1, 2].map(() => uniform(random, x.length));
    const gain = uniform(random, hiddenSize, 2);
    const slots = someSlots(numRows);
    const before = uniformHalves(random, NUM_SLOTS * size);
    const store = uploadStore(gpu, before, size, width);
    const features = { ...store, offset, size: hiddenSize };
    const hidden = gpu.pool.upload(x, "hidden");
    const op = await keepFeatures(gpu, {
      ...{ hiddenSize, hidden, product: givenProduct(gpu, ranges, { numOutputs: hiddenSize }) },
      ...{ slots: words(slots), features },
      ...(withNorm ? { norm: { gain: gpu.pool.upload(gain, "gain"), epsilon: 1e-5 } } : {}),
    });
    await submit(gpu, [call(op, { numRows })]);
    const added = foldRanges([x, foldRanges(ranges)]);
    const values = withNorm ? rmsNormReference(added, gain, 1e-5) : added;
    const expected = keepFeaturesReference(before, size, values, { slots, offset, width: hiddenSize });
    // As of the norm in a layer: half of a sum's relative error, and a few roundings.
    const relative = (withNorm ? (hiddenSize / 8 + 8) * 2 ** -24 : 0) + stored;
    expectClose(await readStore(gpu, store, NUM_SLOTS), expected, { relative }, "features");
    expect(await readF32(gpu, hidden, x.length)).toEqual(x);
  });

  it("values that storage cannot hold become its largest", async () => {
    const gpu = test.context(family);
    const x = Float32Array.from([1e30, -1e30, 3, 0]);
    const features = featureStore(gpu.pool.storage(16, "features"), 4);
    const op = await keepFeatures(gpu, {
      ...{ hiddenSize: 4, hidden: gpu.pool.upload(x, "hidden"), features, slots: words([0]) },
      product: givenProduct(gpu, [new Float32Array(4)], { numOutputs: 4 }),
    });
    await submit(gpu, [call(op, { numRows: 1 })]);
    const kept = await readStore(gpu, features, 1);
    expect([...kept]).toEqual(family.storage === "f16" ? [65504, -65504, 3, 0] : [...x]);
  });

  it.each([
    [4, 4],
    [260, 260],
    [260, 104],
  ])("features of %i values in buffers of %i move with accepted nodes, in order, exactly", async (size, width) => {
    const gpu = test.context(family);
    const before = uniformHalves(random, NUM_SLOTS * size);
    const lists = [
      [
        [12, 11],
        [15, 12],
        [16, 13],
      ],
      [
        [40, 41],
        [41, 42],
        [0, 0],
      ],
    ] as const;
    const store = uploadStore(gpu, before, size, width);
    const commit = await commitFeatures(gpu, words(lists.flat(2)), store);
    await submit(gpu, [(pass) => commit(pass, 2, 3), (pass) => commit(pass, 1, 0)]);
    const expected = commitKvReference(before, size, lists.flat());
    expect(await readStore(gpu, store, NUM_SLOTS)).toEqual(expected);
  });

  it.each([
    [4, 16],
    [388, 400],
    [388, 136],
  ])("features of %i values in buffers of %i are gathered through slots and rows, exactly", async (size, width) => {
    const gpu = test.context(family);
    const store = uniformHalves(random, NUM_SLOTS * size);
    const slots = someSlots(9);
    const rows = [8, 0, 3, 3];
    const out = emptyActivation(gpu, rows.length, size);
    const features = partOfSlots(store, size, width);
    const args = { features, slots: words(slots), rows: words(rows), out };
    const op = await gatherFeatures(gpu, args, ({ numLogits }) => numLogits);
    await submit(gpu, [call(op, { numLogits: rows.length })]);
    expect(await readActivation(gpu, out, rows.length)).toEqual(gatherFeaturesReference(store, size, slots, rows));
  });

  it("rows of two tables are gathered, whatever their words say", async () => {
    const gpu = test.context(family);
    for (let round = 0; round < 8; round++) {
      const [numRows, count] = [random.int(1, 90), random.int(0, 40)];
      const rows = Array.from({ length: count }, () => random.int(0, numRows - 1));
      const tables = [random.int(1, 70), random.int(1, 600)].map((width) => {
        // NaNs among them.
        const values = Uint32Array.from({ length: numRows * width }, () => 2 ** 32 * random.next());
        const from = gpu.pool.upload(values, "from");
        return { values, width, from, out: words(new Array<number>((count + 1) * width).fill(7)) };
      });
      const [a, b] = tables;
      if (a === undefined || b === undefined) throw new Error("two tables");
      const op = await gatherRows(gpu, { rows: words(rows), tables: [a, b] }, ({ numLogits }) => numLogits);
      await submit(gpu, [call(op, { numRows, numLogits: count })]);
      for (const { values, width, out } of tables) {
        const behind = new Array<number>(width).fill(7);
        const expected = [...gatherRowsReference(values, width, rows), ...behind];
        expect([...(await readU32(gpu, out, (count + 1) * width))]).toEqual(expected);
      }
    }
  });

  it.each([
    { isFirst: true, head: 0, width: 80 },
    { isFirst: false, head: 2, width: 80 },
    { isFirst: true, head: 1, width: 28 },
    { isFirst: false, head: 1, width: 28 },
  ])("a Medusa block, first: $isFirst, rows of head $head, buffers of $width", async ({ isFirst, head, width }) => {
    const gpu = test.context(family);
    const [numRows, size] = [random.int(1, 6), 68];
    const store = uniformHalves(random, NUM_SLOTS * size, 3);
    const slots = someSlots(numRows);
    const ranges = [1, 2].map(() => uniform(random, numRows * size, 10));
    const bias = uniform(random, size);
    const x = isFirst
      ? gatherFeaturesReference(
          store,
          size,
          slots,
          slots.map((_, row) => row),
        )
      : uniform(random, numRows * size);
    const state = gpu.pool.upload(isFirst ? new Float32Array(x.length) : new Float32Array(x), "state");
    const out = emptyActivation(gpu, 3 * numRows, size);
    const op = await medusaBlock(gpu, {
      ...{ product: givenProduct(gpu, ranges, { numOutputs: size }), bias: gpu.pool.upload(bias, "bias") },
      ...{ slots: words(slots), features: partOfSlots(store, size, width) },
      ...{ isFirst, state, out, head },
    });
    await submit(gpu, [call(op, { numRows })]);
    const expected = medusaBlockReference(x, foldRanges(ranges), bias);
    // |v| < 21: WGSL gives exp(x) 3 + 2·|x| ulp; the sum's roundings are of its own size.
    const tolerance = { absolute: 24 * (3 + 2 * 21 + 8) * 2 ** -24 };
    expectClose(await readF32(gpu, state, x.length), expected, tolerance, "state");
    const rows = (await readActivation(gpu, out, 3 * numRows)).subarray(head * x.length, (head + 1) * x.length);
    expectClose(rows, expected, tolerance, "out");
  });

  it.each([
    [4, 16, 4],
    [132, 144, 132],
    [132, 60, 52],
  ])(
    "EAGLE's input of two times %i values, from either store (buffers of %i, %i), exactly",
    async (size, width, ownWidth) => {
      const gpu = test.context(family);
      const table = uniformHalves(random, 30 * size);
      const [target, own] = [1, 2].map(() => uniformHalves(random, NUM_SLOTS * size)) as [Float32Array, Float32Array];
      const rows = someSlots(7).map((slot, i) => ({ tokenId: random.int(0, 29), slot, isOwn: i % 3 === 1 }));
      const out = emptyActivation(gpu, rows.length, 2 * size);
      const op = await eagleInput(gpu, {
        ...{
          table: gpu.pool.upload(packRows(family, table), "table"),
          tokenIds: words(rows.map((row) => row.tokenId)),
        },
        sources: words(rows.map(({ slot, isOwn }) => (isOwn ? (slot | OWN_FEATURE) >>> 0 : slot))),
        ...{ target: partOfSlots(target, size, width), own: uploadStore(gpu, own, size, ownWidth), out },
      });
      await submit(gpu, [call(op, { numRows: rows.length })]);
      expect(await readActivation(gpu, out, rows.length)).toEqual(
        eagleInputReference(table, size, rows, { target, own }),
      );
    },
  );

  it("a product with its bias becomes residual stream and input, exactly", async () => {
    const gpu = test.context(family);
    const [numRows, size] = [random.int(1, 7), 76];
    const ranges = [1, 2, 3].map(() => uniform(random, numRows * size));
    const bias = uniform(random, size);
    const hidden = gpu.pool.storage(4 * numRows * size, "hidden");
    const out = emptyActivation(gpu, numRows, size);
    const product = givenProduct(gpu, ranges, { numOutputs: size });
    const op = await addBias(gpu, { product, bias: gpu.pool.upload(bias, "bias"), hidden, out });
    await submit(gpu, [call(op, { numRows })]);
    const expected = addBiasReference(foldRanges(ranges), bias);
    expect(await readF32(gpu, hidden, expected.length)).toEqual(expected);
    expect(await readActivation(gpu, out, numRows)).toEqual(expected);
  });
});
