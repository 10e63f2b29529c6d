import { describe, expect, it } from "vitest";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import type { BatchSequence } from "../../../engine/runner/batch.ts";
import type { LayerKv } from "../../../engine/runner/kv-storage.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { BufferPool, type GpuContext, packRows, storageBytes } from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { expectClose, firstDifferentBits, uniformHalves } from "../../support/arrays.ts";
import { ADAPTER, FAMILIES, useGpu } from "../../support/gpu.ts";
import { cutHeads } from "../../support/kv-shards.ts";
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
/** First position and number of tokens. */
const CHUNKS = [
  [60, 8],
  [16_380, 8],
  [LENGTH - 8, 5],
] as const;
/** Of the tree: the token after the chunks. */
const ROOT = LENGTH - 3;

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
  /** What follows the root, and what might instead. */
  const [next = 0, last = 0] = tokenIds.slice(ROOT + 1);
  const strange = (next + 1) % CONFIG.vocabSize;
  // Keys and values that no token has computed: each position has its own, near ones and far ones alike.
  const given = Array.from(
    { length: CONFIG.numLayers },
    (): ReferenceKv => ({
      keys: uniformHalves(random, LENGTH * SLOT_SIZE, 2),
      values: uniformHalves(random, LENGTH * SLOT_SIZE),
    }),
  );

  it("logits of chunks, a tree and the last token are those of plain loops in f64, in any number of bindings", async () => {
    const whole = test.context(family);
    const layerBytes = NUM_BLOCKS * BLOCK_SIZE * SLOT_SIZE * storageBytes(family);
    const split = { ...whole, pool: new BufferPool(whole.device, layerBytes - 1) };
    const actual = await logitsBy(whole, 1);
    const bySplit = await logitsBy(split, 2);
    split.pool.destroyAll();
    expect(bySplit.map((logits, i) => firstDifferentBits(logits, actual[i] ?? logits))).toEqual(actual.map(() => -1));

    const known = given.map(({ keys, values }) => ({ keys: keys.slice(), values: values.slice() }));
    const logitsOf = (position: number, tokenId = tokenIds[position] ?? 0, from = 0) =>
      referenceLogits(CONFIG, weights, tokenId, position, known, (p) => p < from);
    for (const [i, [start, numTokens]] of CHUNKS.entries()) {
      const rootPosition = start + numTokens - 1;
      for (let p = start; p < rootPosition; p++) logitsOf(p);
      expectClose(actual[i] ?? [], logitsOf(rootPosition), tolerance, `token ${rootPosition}`);
    }
    const [root = [], astray = [], node = [], end = []] = actual.slice(CHUNKS.length);
    expectClose(root, logitsOf(ROOT), tolerance, "the root");
    expectClose(astray, logitsOf(ROOT + 1, strange), tolerance, "a node that goes astray");
    expectClose(node, logitsOf(ROOT + 1, next), tolerance, "the true node");
    const expected = logitsOf(LENGTH - 1, last);
    expectClose(end, expected, tolerance, "the last token");
    // A split that is left out would show.
    const without = logitsOf(LENGTH - 1, last, family.splitSize);
    expect(Math.max(...without.map((value, i) => Math.abs(value - (expected[i] ?? 0))))).toBeGreaterThan(
      tolerance.absolute,
    );
  });

  /** Of the last tokens of the chunks, of a tree's root, stray and true node, and, once that is committed, of the last token. */
  async function logitsBy(gpu: GpuContext, numShards: number): Promise<Float32Array[]> {
    const limits = { maxRows: 8, maxLogits: 4, maxModelLen: LENGTH, numBlocks: NUM_BLOCKS, topK: 1 };
    const model = { config: CONFIG, weights };
    const runner = await ModelRunner.create(gpu, model, { ...limits, maxTableWords: NUM_BLOCKS + 32 });
    for (const [layer, kv] of given.entries()) fill(gpu, runner.kv.layer(layer), kv, numShards);
    const logits: Float32Array[] = [];
    const run = async (sequence: Pick<BatchSequence, "startPosition" | "numTokens" | "tree">) => {
      const rootPosition = sequence.startPosition + sequence.numTokens - 1;
      await runner.run([{ tokenIds, blockTable, rootPosition, sampling, ...sequence }]);
      logits.push(...(await runner.readLogits()));
    };
    for (const [startPosition, numTokens] of CHUNKS) await run({ startPosition, numTokens });
    const tree = { tokenIds: [0, strange, next], parents: [-1, 0, 0], depths: [0, 1, 1], firstNode: 1 };
    await run({ startPosition: ROOT, numTokens: 1, tree });
    const slot = (index: number) =>
      (blockTable[Math.floor(index / BLOCK_SIZE)] ?? 0) * BLOCK_SIZE + (index % BLOCK_SIZE);
    runner.kv.commit([{ from: slot(ROOT + 2), to: slot(ROOT + 1) }]);
    await run({ startPosition: LENGTH - 1, numTokens: 1 });
    return logits;
  }

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

  function fill(gpu: GpuContext, layer: LayerKv, { keys, values }: ReferenceKv, numShards: number): void {
    const inSlots = (rows: Float32Array) => {
      const slots = new Float32Array(NUM_BLOCKS * BLOCK_SIZE * SLOT_SIZE);
      const size = BLOCK_SIZE * SLOT_SIZE;
      for (const [i, block] of blockTable.entries()) slots.set(rows.subarray(i * size, (i + 1) * size), block * size);
      return cutHeads(slots, { numKvHeads: CONFIG.numKvHeads, headSize: CONFIG.headDim, numShards });
    };
    const [keyParts, valueParts] = [inSlots(keys), inSlots(values)];
    expect(layer).toHaveLength(numShards);
    for (const [shard, { kCache, vCache }] of layer.entries()) {
      for (const [to, from = expect.fail()] of [
        [kCache, keyParts[shard]],
        [vCache, valueParts[shard]],
      ] as const) {
        const packed = packRows(family, from);
        expect(to.size).toBe(packed.byteLength);
        gpu.device.queue.writeBuffer(to.buffer, to.offset, packed);
      }
    }
  }
});
