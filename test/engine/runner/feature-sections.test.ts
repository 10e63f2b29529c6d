import { expect, it } from "vitest";
import { KvStorage } from "../../../engine/runner/kv-storage.ts";
import { BufferPool } from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { uniformHalves } from "../../support/arrays.ts";
import { readStore } from "../../support/feature-stores.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";

const test = useGpu();
const CONFIG = {
  ...{ vocabSize: 64, hiddenSize: 52, numLayers: 1, numHeads: 1, numKvHeads: 1, headDim: 8, intermediateSize: 16 },
  ...{ maxPositionEmbeddings: 64, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: true },
};
const NUM_BLOCKS = 4;
const SIZE = 52;

it.each([
  [1 << 20, [52]],
  [5000, [16, 16, 16, 4]],
])(
  "features of 64 slots where %i bytes can be bound: columns cut into %o, and moved in all of them",
  async (maxBytes, widths) => {
    const gpu = test.context(FAMILIES[0]);
    const pool = new BufferPool(gpu.device, maxBytes);
    const options = { numBlocks: NUM_BLOCKS, maxMoves: 2, featureSize: SIZE };
    const storage = await KvStorage.create({ ...gpu, pool }, CONFIG, options);
    const { features } = storage;
    if (features === undefined) throw new Error("no features are kept");
    expect(features.sections.map(({ width }) => width)).toEqual(widths);
    const numSlots = NUM_BLOCKS * BLOCK_SIZE;
    const random = new Random(2);
    for (const { buffer, width } of features.sections) {
      gpu.device.queue.writeBuffer(buffer, 0, Float32Array.from(uniformHalves(random, numSlots * width)));
    }
    const expected = await readStore(gpu, features, numSlots);
    // More moves than are sent at once; the last one moves on what the first one moved.
    const moves = [
      { from: 20, to: 33 },
      { from: 21, to: 34 },
      { from: 33, to: 50 },
    ];
    storage.commit(moves);
    for (const { from, to } of moves) expected.copyWithin(to * SIZE, from * SIZE, (from + 1) * SIZE);
    expect(await readStore(gpu, features, numSlots)).toEqual(expected);
    pool.destroyAll();
  },
);
