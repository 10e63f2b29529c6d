import { describe, expect, it } from "vitest";
import { processorOf } from "../../../engine/runner/logits-processor.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { pathOf } from "../../../engine/speculative/draft-tree.ts";
import { type LogitsProcessor, laneHistory, packProcessor, processorBytes } from "../../../kernels/index.ts";
import { packLanes } from "../../../kernels/ops/lanes.ts";
import { MAX_BIASES, MAX_END_TOKENS } from "../../../kernels/ops/logits-processors.ts";
import { processedLogits } from "../../../kernels/reference/logits-processor.ts";
import { treeFrom } from "../../engine/speculative/trees.ts";
import { uniform } from "../../support/arrays.ts";
import { FAMILIES, readU32, submit, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { type Case, MAX_HISTORY, processAll, randomCase } from "./logits-processors-case.ts";
import { PLAIN } from "./sampling-case.ts";

const test = useGpu();

/** Every row of a case as the reference has it. `drafts`: by known tokens alone, without DRY, at the row's own position. */
function expectedRows(
  { params, tokenIds, numPromptTokens, tree }: Case,
  logits: readonly Float32Array[],
  drafts: boolean,
) {
  const processor = processorOf(params, { tokenIds, numPromptTokens });
  return tree.tokenIds.map((_, node) => {
    const path = pathOf(tree, node).map((i) => tree.tokenIds[i] ?? 0);
    const row = logits[node] ?? new Float32Array();
    if (processor === undefined) return Float64Array.from(row);
    if (!drafts) return processedLogits(row, processor, path);
    const { dry: _dry, ...rest } = processor;
    return processedLogits(row, { ...rest, minPosition: rest.minPosition - path.length }, []);
  });
}

/** GPUs divide the vocabulary into more stripes. */
describe.each(FAMILIES.slice(0, 2))("processed logits of the $name family against the reference", (family) => {
  it.each([
    [2, false],
    [33, false],
    [200, false],
    [1030, false],
    [33, true],
    [1030, true],
  ])(
    "random trees, penalties, biases, end tokens and DRY over %i tokens; rows that draft: %s",
    async (vocabSize, drafts) => {
      const random = new Random(vocabSize);
      const cases = Array.from({ length: 24 }, () => randomCase(random, vocabSize));
      const logits = cases.map(({ tree }) => tree.tokenIds.map(() => uniform(random, vocabSize, 5)));
      const shape = { vocabSize, maxHistory: MAX_HISTORY };
      const got = await processAll(test.context(family), shape, cases, logits.flat(), drafts);
      let [at, numChanged, numNever] = [0, 0, 0];
      for (const [i, one] of cases.entries()) {
        for (const [node, expected] of expectedRows(one, logits[i] ?? [], drafts).entries()) {
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
      return { sampling, isDrafted: true, numTokens: tokenIds.length + recent.length, recent };
    });
    const buffers = { lanes: gpu.pool.upload(packLanes(laneShape, lanes), "lanes"), processors };
    const op = await laneHistory(gpu, laneShape, shape, buffers);
    await submit(gpu, [(pass) => op(pass, { numLanes: 3, numNodes: 4 })]);
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
