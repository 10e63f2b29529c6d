import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import { ModelRunner, type RunnableModel } from "../../../engine/runner/model-runner.ts";
import {
  createGpuContext,
  type Gpu,
  type GpuContext,
  type KernelFamily,
  kvSlotBytes,
  kvTypeOf,
  openGpu,
} from "../../../kernels/index.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { ADAPTER, FAMILIES } from "../../support/gpu.ts";
import { cachesOf } from "../../support/kv-shards.ts";
import { Random } from "../../support/random.ts";
import { amongOthers, inChunks, type Road, type Traveller, throughTrees } from "./roads.ts";
import { RandomLlama } from "./tiny-llama.ts";

/** Some roads are hundreds of passes, and barriers are slow on software adapters. */
const TIMEOUT_MS = 900_000;
/** Tokens of the longest sequence. */
const MOST_TOKENS = 600;
const BLOCKS = Math.ceil((MOST_TOKENS + 32) / BLOCK_SIZE);
const NUM_BLOCKS = 1 + 4 * BLOCKS;

/** Both models say something about long texts only if the tokens are those of a text. */
function textOf(length: number, from: number): number[] {
  const all = referencePrompts().flatMap(({ promptTokens, greedyTokens }) => [...promptTokens, ...greedyTokens]);
  return Array.from({ length }, (_, i) => all[(from + i) % all.length] ?? 0);
}

const [A = [], B = [], C = [], D = []] = shuffledTables(new Random(7));

/** Tables that share no block and lie in the cache without order. */
function shuffledTables(random: Random): number[][] {
  const ids = random.shuffle(Array.from({ length: NUM_BLOCKS - 1 }, (_, i) => i + 1));
  return [0, 1, 2, 3].map((i) => ids.slice(i * BLOCKS, (i + 1) * BLOCKS));
}

const OTHERS: readonly Traveller[] = [
  { tokenIds: textOf(80, 900), blockTable: C },
  { tokenIds: textOf(80, 1300), blockTable: D },
];

const ROADS: readonly (readonly [name: string, road: Road])[] = [
  ["one chunk, in other blocks", inChunks(() => MOST_TOKENS)],
  ["random chunks", inChunks((random) => random.int(1, 90))],
  ["random trees with commit", throughTrees([])],
  ["random trees with commit, beside other trees", throughTrees(OTHERS)],
  ["beside other sequences", amongOthers(OTHERS)],
  ["chunks of 1", inChunks(() => 1)],
];

/** The roads with the most ways to differ, for where all of them would take too long. */
const SHORT_LIST = ROADS.filter(([name]) => name === "random chunks" || name.endsWith("beside other trees"));

/** As many tokens as make this many splits: more than two, with an unfinished one at the end. */
const lengthOf = ({ splitSize }: KernelFamily, numSplits: number) =>
  Math.min(MOST_TOKENS, Math.floor(numSplits * splitSize));

/** Sizes of a model of random weights, for kernels that the adapter is slow at. */
const TINY: LlamaConfig = {
  ...{ vocabSize: 4096, hiddenSize: 64, numLayers: 2, numHeads: 4, numKvHeads: 2, headDim: 16, intermediateSize: 96 },
  ...{ maxPositionEmbeddings: 1024, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: false },
};

const openNamed = (name: string): RunnableModel =>
  name === "random" ? { config: TINY, weights: new RandomLlama(TINY, new Random(2)) } : openModel(resolveModel(name));

/**
 * All roads with every family; what the large model adds are more and wider layers. The kernels of subgroups have barriers, which
 * software adapters are slow at: splits of half the size need half the tokens, and each thread still has several keys of a split.
 */
const CASES = [
  ...FAMILIES.map((family) =>
    ADAPTER === "software" && family.name === "subgroup"
      ? { name: "random", family: { ...family, splitSize: 128 }, roads: ROADS, numSplits: 2.2 }
      : { name: "sapling-2m-draft", family, roads: ROADS, numSplits: 4.4 },
  ),
  { name: "sapling-14m", family: FAMILIES[0], roads: SHORT_LIST, numSplits: 2.8 },
  {
    name: "sapling-2m-draft",
    family: { ...FAMILIES[0], kv: "q8" } satisfies KernelFamily,
    roads: SHORT_LIST.slice(-1),
    numSplits: 4.4,
  },
];

describe.each(CASES.map((one) => ({ ...one, kvType: kvTypeOf(one.family) })))(
  "$name, $family.name family, keys and values in $kvType",
  ({ name, family, roads, numSplits }) => {
    const model = openNamed(name);
    const length = lengthOf(family, numSplits);
    const tokenIds = textOf(length, 0);
    const numPrefixBlocks = Math.floor((0.45 * length) / BLOCK_SIZE);
    const prefixLen = numPrefixBlocks * BLOCK_SIZE;
    const behindPrefix = [...A.slice(0, numPrefixBlocks), ...B.slice(numPrefixBlocks)];
    let device: Gpu;
    let gpu: GpuContext;
    let runner: ModelRunner;
    let expected: Uint32Array;

    beforeAll(async () => {
      device = await openGpu(ADAPTER);
      gpu = createGpuContext(device, family);
      const maxTableWords = 8 * BLOCKS + 32 * 32;
      const limits = {
        maxRows: MOST_TOKENS,
        maxLogits: 64,
        maxModelLen: 1024,
        numBlocks: NUM_BLOCKS,
        maxTableWords,
        topK: 1,
      };
      runner = await ModelRunner.create(gpu, model, limits);
      await inChunks(() => length)(runner, { tokenIds, blockTable: A }, 0, new Random(1));
      expected = await stateOf(A);
    });

    afterAll(() => {
      gpu.pool.destroyAll();
      device.close();
    });

    /** The last token's logits, then K and V of every layer by position, as bits. */
    async function stateOf(blockTable: readonly number[]): Promise<Uint32Array> {
      const parts = [new Uint32Array(new Float32Array((await runner.readLogits()).at(-1) ?? []).buffer)];
      const { numLayers } = model.config;
      const size = kvSlotBytes(family, model.config) / 4;
      for (let layer = 0; layer < numLayers; layer++) {
        for (const cache of cachesOf(runner.kv.layer(layer))) {
          const all = new Uint32Array(await gpu.pool.read(cache.buffer, cache.offset, cache.size));
          for (let position = 0; position < length; position++) {
            const slot = (blockTable[Math.floor(position / BLOCK_SIZE)] ?? 0) * BLOCK_SIZE + (position % BLOCK_SIZE);
            parts.push(all.subarray(slot * size, (slot + 1) * size));
          }
        }
      }
      return concat(parts);
    }

    it.each(roads)(
      "%s: logits, keys and values are the same bits",
      async (_, road) => {
        await poison(B);
        await road(runner, { tokenIds, blockTable: B }, 0, new Random(3));
        expect(firstDifference(await stateOf(B), expected)).toBe(-1);
      },
      TIMEOUT_MS,
    );

    it("a prefix that another sequence computed: the same bits", async () => {
      await poison(B);
      const road = inChunks((random) => random.int(1, 90));
      await road(runner, { tokenIds, blockTable: behindPrefix }, prefixLen, new Random(4));
      expect(firstDifference(await stateOf(behindPrefix), expected)).toBe(-1);
    });

    it("one changed token changes later keys and the logits: the comparison can fail", async () => {
      const changed = tokenIds.with(length >> 1, 5);
      await inChunks(() => length)(runner, { tokenIds: changed, blockTable: behindPrefix }, prefixLen, new Random(1));
      expect(firstDifference(await stateOf(behindPrefix), expected)).toBeGreaterThanOrEqual(0);
    });

    /** What is left in blocks from earlier is not a number, in halves nor in f32: reading it would show. */
    async function poison(blockTable: readonly number[]): Promise<void> {
      const nan = new Uint8Array(BLOCK_SIZE * kvSlotBytes(family, model.config)).fill(0xff);
      for (let layer = 0; layer < model.config.numLayers; layer++) {
        for (const { buffer, offset } of cachesOf(runner.kv.layer(layer))) {
          for (const block of blockTable) gpu.device.queue.writeBuffer(buffer, offset + block * nan.byteLength, nan);
        }
      }
      await gpu.device.queue.onSubmittedWorkDone();
    }
  },
);

function concat(parts: readonly Uint32Array[]): Uint32Array {
  const out = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function firstDifference(a: Uint32Array, b: Uint32Array): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  return a.findIndex((bits, i) => bits !== b[i]);
}
