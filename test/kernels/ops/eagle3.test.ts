import { describe, expect, it } from "vitest";
import { eagle3Input, eagle3Levels, NO_PLACE, OWN_FEATURE, packRows, spreadLogits } from "../../../kernels/index.ts";
import { type Eagle3Row, eagle3InputReference, eagle3LevelsReference } from "../../../kernels/reference/eagle3.ts";
import { spreadLogitsReference } from "../../../kernels/reference/spread-logits.ts";
import { expectClose, uniform, uniformHalves } from "../../support/arrays.ts";
import { uploadStore } from "../../support/feature-stores.ts";
import { call, FAMILIES, readF32, submit, useGpu } from "../../support/gpu.ts";
import { emptyActivation, foldRanges, givenProduct, readActivation } from "../../support/products.ts";
import { Random } from "../../support/random.ts";

const NUM_SLOTS = 24;
const VOCAB = 30;

describe.each(FAMILIES)("kernels of EAGLE-3, $name, $storage", (family) => {
  const test = useGpu();
  const random = new Random(3);
  const words = (values: readonly number[]) => test.context(family).pool.upload(Uint32Array.from(values), "words");
  const someRows = (): Eagle3Row[] =>
    Array.from({ length: random.int(3, 9) }, (_, i) => ({
      ...{ tokenId: random.int(0, VOCAB - 1), slot: random.int(0, NUM_SLOTS - 1), isOwn: i % 3 === 1 },
    }));
  const sourcesOf = (rows: readonly Eagle3Row[]) =>
    words(rows.map(({ slot, isOwn }) => (isOwn ? (slot | OWN_FEATURE) >>> 0 : slot)));

  it.each([
    [4, 16],
    [132, 528],
    [132, 188],
  ])("three levels of %i values in buffers of %i come from the target's slots, exactly", async (hiddenSize, width) => {
    const gpu = test.context(family);
    const [size, rows] = [3 * hiddenSize, someRows()];
    const [stride, offset] = [size + hiddenSize, hiddenSize];
    const kept = uniformHalves(random, NUM_SLOTS * stride);
    const levels = { ...uploadStore(gpu, kept, stride, width), offset, size };
    const out = emptyActivation(gpu, rows.length, size);
    const op = await eagle3Levels(gpu, { sources: sourcesOf(rows), levels, out });
    await submit(gpu, [call(op, { numRows: rows.length })]);
    const own = Float32Array.from({ length: NUM_SLOTS * size }, (_, i) => {
      return kept[Math.floor(i / size) * stride + offset + (i % size)] ?? 0;
    });
    expect(await readActivation(gpu, out, rows.length)).toEqual(eagle3LevelsReference(own, size, rows));
  });

  it.each([
    [8, 8],
    [260, 260],
    [260, 88],
    [2048, 2048],
  ])("its layer's input of two times %i values, own in buffers of %i, each half normed", async (size, width) => {
    const gpu = test.context(family);
    const rows = someRows();
    const [table, own] = [VOCAB, NUM_SLOTS].map((count) => uniformHalves(random, count * size, 3)) as [
      Float32Array,
      Float32Array,
    ];
    const ranges = [1, 2].map(() => uniform(random, rows.length * size));
    const gains = uniform(random, 2 * size, 2);
    const hidden = gpu.pool.storage(4 * rows.length * size, "hidden");
    const out = emptyActivation(gpu, rows.length, 2 * size);
    const op = await eagle3Input(gpu, {
      table: gpu.pool.upload(packRows(family, table), "table"),
      ...{ tokenIds: words(rows.map(({ tokenId }) => tokenId)), sources: sourcesOf(rows) },
      fused: givenProduct(gpu, ranges, { numOutputs: size }),
      own: uploadStore(gpu, own, size, width),
      ...{ gains: gpu.pool.upload(gains, "gains"), epsilon: 1e-5, hidden, out },
    });
    await submit(gpu, [call(op, { numRows: rows.length })]);
    const features = { fused: foldRanges(ranges), own };
    const expected = eagle3InputReference(table, size, rows, features, { gains, epsilon: 1e-5 });
    expect(await readF32(gpu, hidden, expected.hidden.length)).toEqual(expected.hidden);
    // As of the norm in a layer: half of a sum's relative error, and a few roundings.
    const relative = (size / 8 + 8) * 2 ** -24;
    expectClose(await readActivation(gpu, out, rows.length), expected.x, { relative }, "x");
  });

  it("logits over a reduced vocabulary go to their tokens' places, exactly; the rest are NaN", async () => {
    const gpu = test.context(family);
    const [numRows, vocabSize, stride, numReduced] = [random.int(1, 5), 77, 32, 20];
    const tokens = random.shuffle(Array.from({ length: vocabSize }, (_, token) => token)).slice(0, numReduced);
    const places = Array.from({ length: vocabSize }, (_, token) => tokens.indexOf(token));
    const values = uniform(random, numRows * stride, 9);
    const logits = gpu.pool.storage(4 * numRows * 96, "logits");
    const op = await spreadLogits(gpu, {
      ...{ vocabSize, reduced: givenProduct(gpu, [values], { numOutputs: stride }), logits },
      places: words(places.map((place) => (place < 0 ? NO_PLACE : place))),
    });
    await submit(gpu, [call(op, { numLogits: numRows })]);
    const all = await readF32(gpu, logits, numRows * 96);
    const found = Array.from({ length: numRows }, (_, row) => [...all.subarray(96 * row, 96 * row + vocabSize)]).flat();
    const expected = spreadLogitsReference(
      values,
      stride,
      places.map((place) => (place < 0 ? undefined : place)),
    );
    expect(found).toEqual([...expected]);
    expect(found.filter(Number.isNaN)).toHaveLength(numRows * (vocabSize - numReduced));
  });
});
