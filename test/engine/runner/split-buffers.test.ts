import { beforeAll, describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { BufferPool, type GpuContext, type KernelFamily, type KvType } from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { bitsOf } from "../../support/arrays.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { cachesOf, cutHeads } from "../../support/kv-shards.ts";
import { Random } from "../../support/random.ts";
import { throughTrees } from "./roads.ts";
import { RandomLlama } from "./tiny-llama.ts";

const test = useGpu();

const CONFIG: LlamaConfig = {
  ...{ vocabSize: 1024, hiddenSize: 32, numLayers: 3, numHeads: 8, numKvHeads: 4, headDim: 16, intermediateSize: 96 },
  ...{ maxPositionEmbeddings: 128, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: false },
};
const LENGTH = 40;
/** Less than the embedding, the LM head, and keys of two layers; more than all else but keys of a layer. */
const MAX_BYTES = 100 * 1024;
/** Blocks of caches in one buffer. */
const WHOLE_BLOCKS = 30;

/** Products of the other families are tested in parts by themselves (test/kernels/ops/matmul.test.ts). */
describe.each<{ kv: KvType; headBytes: number; cases: readonly (readonly [numBlocks: number, numShards: number])[] }>([
  // A block of a layer's keys takes 4,096 bytes in f32, 1,280 in 8 bits.
  {
    kv: "f32",
    headBytes: 64,
    cases: [
      [24, 1],
      [60, 4],
    ],
  },
  { kv: "q8", headBytes: 20, cases: [[90, 2]] },
])("buffers over the adapter's binding limit, keys in $kv", ({ kv, headBytes, cases }) => {
  const family: KernelFamily = { ...FAMILIES[0], kv };
  let numWhole: number;
  let expected: Awaited<ReturnType<typeof stateOf>>;

  beforeAll(async () => {
    const { pool } = test.context(family);
    const before = pool.numBuffers;
    expected = await stateOf(test.context(family), WHOLE_BLOCKS, 1);
    numWhole = pool.numBuffers - before;
  });

  it.each(cases)("%i blocks are split, a layer's keys into %i: the same bits", async (numBlocks, numShards) => {
    const whole = test.context(family);
    // Kernels are shared: compiling them takes longest.
    const split = { ...whole, pool: new BufferPool(whole.device, MAX_BYTES) };
    const actual = await stateOf(split, numBlocks, numShards);
    expect(actual.logits).toEqual(expected.logits);
    // What blocks there are in both.
    const words = (Math.min(WHOLE_BLOCKS, numBlocks) * BLOCK_SIZE * headBytes) / 4;
    const cut = { numKvHeads: CONFIG.numKvHeads, headSize: headBytes / 4, numShards };
    for (const [layer, caches] of actual.layers.entries()) {
      const parts = (expected.layers[layer] ?? []).map((all) => cutHeads(all.slice(0, CONFIG.numKvHeads * words), cut));
      const [keys = [], values = []] = parts;
      const shardWords = (CONFIG.numKvHeads / numShards) * words;
      expect(caches.map((all) => all.slice(0, shardWords))).toEqual(keys.flatMap((part, i) => [part, values[i]]));
      for (const cache of caches) expect(cache.some((word) => word !== 0)).toBe(true);
    }
    // Embedding and LM head are two buffers each, and so are keys and values of each layer's shards.
    expect(split.pool.numBuffers).toBe(numWhole + 1 + 1 + 2 * (CONFIG.numLayers * numShards - 1));
    split.pool.destroyAll();
  });
});

/** Logits after random trees and their commits, and all keys and values, as bits. */
async function stateOf(gpu: GpuContext, numBlocks: number, numShards: number) {
  const random = new Random(4);
  const weights = new RandomLlama(CONFIG, random);
  const limits = { maxRows: 24, maxLogits: 24, maxModelLen: 128, numBlocks, maxTableWords: 256, topK: 1 };
  const runner = await ModelRunner.create(gpu, { config: CONFIG, weights }, limits);
  const tokenIds = Array.from({ length: LENGTH }, () => random.int(0, CONFIG.vocabSize - 1));
  await throughTrees([])(runner, { tokenIds, blockTable: [3, 1, 22, 2, 17] }, 0, new Random(6));
  const logits = bitsOf((await runner.readLogits()).at(-1) ?? new Float32Array());
  expect(logits.length).toBeGreaterThanOrEqual(CONFIG.vocabSize);
  const layers = Array.from({ length: CONFIG.numLayers }, (_, layer) => cachesOf(runner.kv.layer(layer)));
  for (const caches of layers) expect(caches).toHaveLength(2 * numShards);
  const read = async ({ buffer, offset, size }: (typeof layers)[number][number]) =>
    new Uint32Array(await gpu.pool.read(buffer, offset, size));
  return { logits, layers: await Promise.all(layers.map((caches) => Promise.all(caches.map(read)))) };
}
