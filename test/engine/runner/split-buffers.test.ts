import { describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { createGpuContext, type GpuContext } from "../../../kernels/index.ts";
import { bitsOf } from "../../support/arrays.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { throughTrees } from "./roads.ts";
import { RandomLlama } from "./tiny-llama.ts";

const test = useGpu();

const CONFIG: LlamaConfig = {
  ...{ vocabSize: 1024, hiddenSize: 32, numLayers: 3, numHeads: 4, numKvHeads: 2, headDim: 16, intermediateSize: 96 },
  ...{ maxPositionEmbeddings: 128, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: false },
};
const NUM_BLOCKS = 30;
const LENGTH = 70;
/** Less than the embedding, the LM head, and keys of two layers; more than all else. */
const MAX_BYTES = 100 * 1024;

/** Products of the other families are tested in parts by themselves (test/kernels/ops/matmul.test.ts). */
describe.each(FAMILIES.slice(0, 1))("buffers over the adapter's binding limit, $name family, $storage", (family) => {
  it("are split into several: logits, keys and values are the same bits", async () => {
    const whole = test.context(family);
    const split = createGpuContext({ device: whole.device, traits: test.traits }, family, MAX_BYTES);
    const before = whole.pool.numBuffers;
    const expected = await stateOf(whole);
    const numWhole = whole.pool.numBuffers - before;
    expect(await stateOf(split)).toEqual(expected);
    // Embedding and LM head are two buffers each, and three layers have keys and values of their own.
    expect(split.pool.numBuffers).toBe(numWhole + 1 + 1 + 4);
    split.pool.destroyAll();
  });
});

/** Logits after random trees and their commits, and all keys and values, as bits. */
async function stateOf(gpu: GpuContext): Promise<Uint32Array[]> {
  const random = new Random(4);
  const weights = new RandomLlama(CONFIG, random);
  const limits = { maxRows: 24, maxLogits: 24, maxModelLen: 128, numBlocks: NUM_BLOCKS, maxTableWords: 256, topK: 1 };
  const runner = await ModelRunner.create(gpu, { config: CONFIG, weights }, limits);
  const tokenIds = Array.from({ length: LENGTH }, () => random.int(0, CONFIG.vocabSize - 1));
  await throughTrees([])(runner, { tokenIds, blockTable: [3, 1, 28, 2, 17, 5, 4, 6] }, 0, new Random(6));
  const logits = bitsOf((await runner.readLogits()).at(-1) ?? new Float32Array());
  expect(logits.length).toBeGreaterThanOrEqual(CONFIG.vocabSize);
  const layers = Array.from({ length: CONFIG.numLayers }, (_, layer) => Object.values(runner.kv.layer(layer)));
  const caches = layers.flat().map(async ({ buffer, offset, size }) => {
    return new Uint32Array(await gpu.pool.read(buffer, offset, size));
  });
  return [logits, ...(await Promise.all(caches))];
}
