import { describe, expect, it } from "vitest";
import { BatchBuilder, batchLayout } from "../../../engine/runner/batch.ts";
import { processorOf } from "../../../engine/runner/logits-processor.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import { type DraftTree, pathOf } from "../../../engine/speculative/draft-tree.ts";
import {
  type GpuContext,
  type LogitsProcessor,
  laneHistory,
  logitsStride,
  type ProcessorShape,
  packProcessor,
  processLogits,
  processorBytes,
} from "../../../kernels/index.ts";
import { packLanes } from "../../../kernels/ops/lanes.ts";
import { MAX_BIASES, MAX_END_TOKENS } from "../../../kernels/ops/logits-processors.ts";
import { processedLogits } from "../../../kernels/reference/logits-processor.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import { uniform } from "../../support/arrays.ts";
import { call, FAMILIES, readF32, readU32, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { PLAIN } from "./sampling-case.ts";

const test = useGpu();
const MAX_HISTORY = 90;

/** A sequence in a step: the rows of its last known token and of its draft tree are sampled. */
interface Case {
  readonly params: SamplingParams;
  readonly tokenIds: readonly number[];
  readonly numPromptTokens: number;
  readonly tree: DraftTree;
}

/** Tokens come from few, so that they repeat, and so do runs of them. */
function randomCase(random: Random, vocabSize: number): Case {
  const few = Math.min(vocabSize, random.pick([2, 5, 1000]));
  const token = () => random.int(0, few - 1);
  const numTokens = random.int(1, MAX_HISTORY - 10);
  const wishes = Array.from({ length: random.int(0, 8) }, () => [random.int(0, 50), token()] as const);
  const some = (count: number) => random.shuffle(Array.from({ length: vocabSize }, (_, i) => i)).slice(0, count);
  const dry = {
    ...{ multiplier: random.pick([0.5, 2]), base: random.pick([1, 1.75]), allowedLength: random.int(1, 4) },
    ...(random.next() < 0.5 ? { range: random.int(0, 40) } : {}),
    breakers: random.next() < 0.5 ? some(1) : [],
  };
  const tokenIds = Array.from({ length: numTokens }, token);
  return {
    params: {
      ...GREEDY,
      repetitionPenalty: random.pick([1, 1, 1.3, 0.7]),
      presencePenalty: random.pick([0, 0, 1.5, -2]),
      frequencyPenalty: random.pick([0, 0, 0.75, -0.5]),
      logitBias: some(random.int(0, 3)).map((id) => [id, random.pick([-100, -1.5, 0.25, 100])] as const),
      stopTokenIds: some(random.int(0, 2)),
      minTokens: random.int(0, 6),
      ...(random.next() < 0.5 ? { dry } : {}),
    },
    tokenIds,
    numPromptTokens: random.int(Math.max(1, numTokens - 8), numTokens),
    tree: treeFrom(tokenIds.at(-1) ?? 0, wishes),
  };
}

/** Processed logits of every row of every case, in one pass: f32 [vocabSize] each. */
async function processAll(
  gpu: GpuContext,
  shape: ProcessorShape,
  cases: readonly Case[],
  logits: readonly Float32Array[],
) {
  const { vocabSize } = shape;
  const layout = batchLayout(512, 512, 8192);
  const builder = new BatchBuilder(layout);
  for (const { params, tokenIds, numPromptTokens, tree } of cases) {
    const processor = processorOf(params, { tokenIds, numPromptTokens });
    builder.add({
      ...{ tokenIds, startPosition: Math.max(0, tokenIds.length - 3), numTokens: Math.min(3, tokenIds.length) },
      ...{ blockTable: [1, 2, 3, 4, 5, 6, 7, 8], rootPosition: tokenIds.length - 1 },
      ...{ tree: { ...tree, firstNode: 1 }, sampling: { params, choice: 0, processor } },
    });
  }
  const { processors, numLogits } = builder;
  const stride = logitsStride(vocabSize);
  const padded = new Float32Array(numLogits * stride).fill(1e30);
  for (const [i, row] of logits.entries()) padded.set(row, i * stride);
  const packed = new Uint32Array((Math.max(1, processors.length) * processorBytes(shape)) / 4);
  for (const [i, processor] of processors.entries()) {
    packed.set(packProcessor(shape, processor), (i * processorBytes(shape)) / 4);
  }
  const input = new Uint32Array(layout.numBytes / 4);
  new Uint8Array(input.buffer).set(builder.bytes);
  const buffers = {
    batch: { ...layout, buffer: gpu.pool.upload(input, "batch") },
    processors: gpu.pool.upload(packed, "processors"),
    // What an earlier step left there must not matter.
    counts: gpu.pool.upload(new Uint32Array(Math.max(1, processors.length) * vocabSize).fill(9), "counts"),
    logits: gpu.pool.upload(padded, "logits"),
    processed: gpu.pool.storage(4 * numLogits * stride, "processed"),
  };
  const ops = await processLogits(gpu, shape, buffers);
  await submit(gpu, [
    (pass) => ops.count(pass, processors.length),
    call(ops.process, { numLogits }),
    call(ops.dry, { numLogits }),
  ]);
  const processed = await readF32(gpu, buffers.processed, numLogits * stride);
  return Array.from({ length: numLogits }, (_, i) => processed.slice(i * stride, i * stride + vocabSize));
}

/** Every row of a case as the reference has it. */
function expectedRows({ params, tokenIds, numPromptTokens, tree }: Case, logits: readonly Float32Array[]) {
  const processor = processorOf(params, { tokenIds, numPromptTokens });
  return tree.tokenIds.map((_, node) => {
    const path = pathOf(tree, node).map((i) => tree.tokenIds[i] ?? 0);
    const row = logits[node] ?? new Float32Array();
    return processor ? processedLogits(row, processor, path) : Float64Array.from(row);
  });
}

/** GPUs divide the vocabulary into more stripes. */
describe.each(FAMILIES.slice(0, 2))("processed logits of the $name family against the reference", (family) => {
  it.each([2, 33, 200, 1030])(
    "random trees, penalties, biases, end tokens and DRY over %i tokens",
    async (vocabSize) => {
      const random = new Random(vocabSize);
      const cases = Array.from({ length: 24 }, () => randomCase(random, vocabSize));
      const logits = cases.map(({ tree }) => tree.tokenIds.map(() => uniform(random, vocabSize, 5)));
      const got = await processAll(test.context(family), { vocabSize, maxHistory: MAX_HISTORY }, cases, logits.flat());
      let [at, numChanged, numNever] = [0, 0, 0];
      for (const [i, one] of cases.entries()) {
        for (const [node, expected] of expectedRows(one, logits[i] ?? []).entries()) {
          const row = got[at++] ?? new Float32Array();
          const raw = logits[i]?.[node] ?? new Float32Array();
          const wrong = Array.from(expected, (value, token) => ({ token, value, found: row[token] ?? 0 })).filter(
            ({ value, found }) => {
              // Six f32 operations on values up to 100 + what DRY takes off, and up to 50 products in that.
              const tolerance = 64 * 2 ** -24 * (110 + Math.abs(value));
              return Number.isNaN(value) !== Number.isNaN(found) || Math.abs(value - found) > tolerance;
            },
          );
          expect(wrong, `case ${i}, node ${node}`).toEqual([]);
          numNever += expected.filter(Number.isNaN).length;
          numChanged += expected.filter((value, token) => value !== raw[token]).length;
        }
      }
      expect(at).toBe(got.length);
      expect(numChanged).toBeGreaterThan(40);
      expect(numNever).toBeGreaterThan(5);
    },
  );

  it("a node's bits are those of plain decoding after the same tokens, alone", async () => {
    const random = new Random(8);
    const shape = { vocabSize: 70, maxHistory: MAX_HISTORY };
    for (let round = 0; round < 4; round++) {
      const cases = Array.from({ length: 3 }, () => randomCase(random, shape.vocabSize));
      const logits = cases.map(({ tree }) => tree.tokenIds.map(() => uniform(random, shape.vocabSize, 5)));
      const together = await processAll(test.context(family), shape, cases, logits.flat());
      let at = 0;
      for (const [i, one] of cases.entries()) {
        for (const node of one.tree.tokenIds.keys()) {
          const row = logits[i]?.[node] ?? new Float32Array();
          const tokenIds = [...one.tokenIds, ...pathOf(one.tree, node).map((n) => one.tree.tokenIds[n] ?? 0)];
          const alone = await processAll(
            test.context(family),
            shape,
            [{ ...one, tokenIds, tree: treeFrom(tokenIds.at(-1) ?? 0, []) }],
            [row],
          );
          expect(new Uint32Array(together[at]?.buffer ?? [])).toEqual(new Uint32Array(alone[0]?.buffer ?? [1]));
          at++;
        }
      }
    }
  });

  it("logits that are not numbers stay so, and infinite ones", async () => {
    const one: Case = {
      params: {
        ...{ ...GREEDY, repetitionPenalty: 2, frequencyPenalty: 1 },
        dry: { multiplier: 1, base: 2, allowedLength: 1, breakers: [] },
      },
      tokenIds: [0, 1, 2, 3, 0, 1, 2, 3],
      numPromptTokens: 2,
      tree: treeFrom(3, []),
    };
    const row = Float32Array.from([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 4]);
    const [got] = await processAll(test.context(family), { vocabSize: 4, maxHistory: MAX_HISTORY }, [one], [row]);
    expect([...(got ?? [])]).toEqual([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0]);
  });
});

describe("lane_history", () => {
  it("makes known what was emitted, to the lane's own processor, within its room", async () => {
    const gpu = test.context(FAMILIES[0]);
    const shape = { vocabSize: 40, maxHistory: 12 };
    const laneShape = { maxNodes: 4, maxRecent: 4 };
    const known = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]];
    const emitted = [[20], [21, 22, 23], [24, 25]];
    const places = [1, undefined, 0];
    const processorFor = (tokenIds: readonly number[]): LogitsProcessor => {
      const sequence = { tokenIds, numPromptTokens: 1 };
      return processorOf({ ...GREEDY, presencePenalty: 1 }, sequence) ?? expect.fail();
    };
    const size = processorBytes(shape) / 4;
    const words = new Uint32Array(2 * size);
    words.set(packProcessor(shape, processorFor(known[2] ?? [])), 0);
    words.set(packProcessor(shape, processorFor(known[0] ?? [])), size);
    const processors = gpu.pool.upload(words, "processors");
    const lanes = known.map((tokenIds, lane) => {
      const place = places[lane];
      const recent = emitted[lane] ?? [];
      const sampling = { ...PLAIN, ...(place === undefined ? {} : { processor: place }) };
      return { sampling, numTokens: tokenIds.length + recent.length, recent };
    });
    const buffers = { lanes: gpu.pool.upload(packLanes(laneShape, lanes), "lanes"), processors };
    const op = await laneHistory(gpu, laneShape, shape, buffers);
    await submit(gpu, [(pass) => op(pass, { numLanes: 3, numNodes: 4, level: 0 })]);
    const got = await readU32(gpu, processors, 2 * size);
    const expected = new Uint32Array(2 * size);
    // The third lane's second token lies beyond the room.
    expected.set(packProcessor(shape, processorFor([...(known[2] ?? []), 24])), 0);
    expected[5] = 13;
    expected.set(packProcessor(shape, processorFor([1, 2, 3, 20])), size);
    expect(got).toEqual(expected);
  });
});

describe("packed processors", () => {
  it("hold no more than fits", () => {
    const shape = { vocabSize: 2000, maxHistory: 8 };
    const plain = processorOf({ ...GREEDY, presencePenalty: 1 }, { tokenIds: [1], numPromptTokens: 1 });
    const packed = (more: Partial<LogitsProcessor>) => () =>
      packProcessor(shape, { ...(plain ?? expect.fail()), ...more });
    expect(packed({ tokenIds: Array(9).fill(1) })).toThrow(/9 known tokens, at most 8/);
    expect(packed({ endTokenIds: Array(MAX_END_TOKENS + 1).fill(1) })).toThrow(/129 end tokens, at most 128/);
    expect(packed({ logitBias: Array(MAX_BIASES + 1).fill([1, 1]) })).toThrow(/1025 biases, at most 1024/);
  });
});
