import { describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import type { BatchSequence } from "../../../engine/runner/batch.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { type GpuContext, packRows, storageBytes } from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { expectClose, uniformHalves } from "../../support/arrays.ts";
import { ADAPTER, FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { RandomLlama, type ReferenceKv, referenceLogits } from "./tiny-llama.ts";

const test = useGpu();

const LENGTH = 32_768;
const CONFIG: LlamaConfig = {
  ...{ vocabSize: 64, hiddenSize: 32, numLayers: 2, numHeads: 4, numKvHeads: 2, headDim: 16, intermediateSize: 64 },
  ...{ maxPositionEmbeddings: LENGTH, rmsNormEps: 1e-5, ropeTheta: 1_000_000, tieWordEmbeddings: false },
};
const SLOT_SIZE = CONFIG.numKvHeads * CONFIG.headDim;
const NUM_BLOCKS = 1 + LENGTH / BLOCK_SIZE;
const sampling = { params: GREEDY, choice: 0 };

/** The kernel of subgroups has barriers, which software adapters are slow at; its splits are tested on shorter sequences. */
const CASES = ADAPTER === "software" ? FAMILIES.slice(0, 1) : FAMILIES;

describe.each(CASES)("a sequence of 32,768 tokens, $name family, $storage", (family) => {
  // Logits up to 1.1 err by 1e-6 at most (portable, SwiftShader); without the first split they are 2e-3 off. Halves keep 11 bits of
  // the rows' own keys and values.
  const tolerance = { absolute: family.storage === "f16" ? 1e-3 : 5e-6 };
  const random = new Random(9);
  const weights = new RandomLlama(CONFIG, random);
  const tokenIds = Array.from({ length: LENGTH }, () => random.int(0, CONFIG.vocabSize - 1));
  const blockTable = random.shuffle(Array.from({ length: NUM_BLOCKS - 1 }, (_, i) => i + 1));
  // Keys and values that no token has computed: each position has its own, near ones and far ones alike.
  const given = Array.from(
    { length: CONFIG.numLayers },
    (): ReferenceKv => ({
      keys: uniformHalves(random, LENGTH * SLOT_SIZE, 2),
      values: uniformHalves(random, LENGTH * SLOT_SIZE),
    }),
  );

  it("logits of chunks, a tree and the last token are those of plain loops in f64", async () => {
    const gpu = test.context(family);
    const runner = await ModelRunner.create(
      gpu,
      { config: CONFIG, weights },
      { maxRows: 8, maxLogits: 4, maxModelLen: LENGTH, numBlocks: NUM_BLOCKS, maxTableWords: NUM_BLOCKS + 32, topK: 1 },
    );
    for (const [layer, kv] of given.entries()) fill(gpu, runner, layer, kv);
    const known = given.map(({ keys, values }) => ({ keys: keys.slice(), values: values.slice() }));
    const logitsOf = (position: number, tokenId = tokenIds[position] ?? 0, from = 0) =>
      referenceLogits(CONFIG, weights, tokenId, position, known, (p) => p < from);

    for (const [start, numTokens] of [
      [60, 8],
      [16_380, 8],
      [LENGTH - 8, 5],
    ] as const) {
      const rootPosition = start + numTokens - 1;
      await runner.run([{ tokenIds, startPosition: start, numTokens, blockTable, rootPosition, sampling }]);
      for (let p = start; p < rootPosition; p++) logitsOf(p);
      const [actual = []] = await runner.readLogits();
      expectClose(actual, logitsOf(rootPosition), tolerance, `token ${rootPosition}`);
    }

    // The root is token LENGTH − 3; below it the true next token, and beside that another.
    const root = LENGTH - 3;
    const [next = 0, last = 0] = tokenIds.slice(root + 1);
    const tree = { tokenIds: [0, (next + 1) % 64, next], parents: [-1, 0, 0], depths: [0, 1, 1], firstNode: 1 };
    const step: BatchSequence = {
      tokenIds,
      startPosition: root,
      numTokens: 1,
      blockTable,
      rootPosition: root,
      sampling,
      tree,
    };
    await runner.run([step]);
    const logits = await runner.readLogits();
    expectClose(logits[0] ?? [], logitsOf(root), tolerance, "the root");
    expectClose(logits[1] ?? [], logitsOf(root + 1, (next + 1) % 64), tolerance, "a node that goes astray");
    expectClose(logits[2] ?? [], logitsOf(root + 1, next), tolerance, "the true node");
    const slot = (index: number) =>
      (blockTable[Math.floor(index / BLOCK_SIZE)] ?? 0) * BLOCK_SIZE + (index % BLOCK_SIZE);
    runner.kv.commit([{ from: slot(root + 2), to: slot(root + 1) }]);

    await runner.run([
      { tokenIds, startPosition: LENGTH - 1, numTokens: 1, blockTable, rootPosition: LENGTH - 1, sampling },
    ]);
    const [actual = new Float32Array()] = await runner.readLogits();
    const expected = logitsOf(LENGTH - 1, last);
    expectClose(actual, expected, tolerance, "the last token");
    // A split that is left out would show.
    const without = logitsOf(LENGTH - 1, last, family.splitSize);
    expect(Math.max(...without.map((value, i) => Math.abs(value - (expected[i] ?? 0))))).toBeGreaterThan(
      tolerance.absolute,
    );
  });

  // K and V of the only layer do not depend on attention, so that plain loops know all of them.
  it.skipIf(process.env.CANOPY_WHOLE_CONTEXT === undefined)(
    "and so are they where every token is computed",
    async () => {
      const config = { ...CONFIG, numLayers: 1, numHeads: 2, numKvHeads: 1, headDim: 8 };
      const own = new RandomLlama(config, random);
      const limits = {
        maxRows: 256,
        maxLogits: 1,
        maxModelLen: LENGTH,
        numBlocks: NUM_BLOCKS,
        maxTableWords: NUM_BLOCKS,
      };
      const runner = await ModelRunner.create(test.context(family), { config, weights: own }, { ...limits, topK: 1 });
      const known = [{ keys: new Float32Array(LENGTH * 8), values: new Float32Array(LENGTH * 8) }];
      for (let start = 0; start < LENGTH; start += limits.maxRows) {
        const rootPosition = start + limits.maxRows - 1;
        const numTokens = limits.maxRows;
        await runner.run([{ tokenIds, startPosition: start, numTokens, blockTable, rootPosition, sampling }]);
        for (let p = start; p < rootPosition; p++) {
          referenceLogits(config, own, tokenIds[p] ?? 0, p, known, () => true);
        }
        const expected = referenceLogits(config, own, tokenIds[rootPosition] ?? 0, rootPosition, known);
        expectClose((await runner.readLogits())[0] ?? [], expected, tolerance, `token ${rootPosition}`);
      }
    },
  );

  function fill(gpu: GpuContext, runner: ModelRunner, layer: number, { keys, values }: ReferenceKv): void {
    const inSlots = (rows: Float32Array) => {
      const slots = new Float32Array(NUM_BLOCKS * BLOCK_SIZE * SLOT_SIZE);
      const size = BLOCK_SIZE * SLOT_SIZE;
      for (const [i, block] of blockTable.entries()) slots.set(rows.subarray(i * size, (i + 1) * size), block * size);
      return packRows(family, slots);
    };
    const { kCache, vCache } = runner.kv.layer(layer);
    expect(kCache.size).toBe(NUM_BLOCKS * BLOCK_SIZE * SLOT_SIZE * storageBytes(family));
    gpu.device.queue.writeBuffer(kCache.buffer, kCache.offset, inSlots(keys));
    gpu.device.queue.writeBuffer(vCache.buffer, vCache.offset, inSlots(values));
  }
});
