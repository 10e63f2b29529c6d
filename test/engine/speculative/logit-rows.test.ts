import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { syntheticWeights } from "../../../bench/synthetic.ts";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { openDrafter } from "../../../engine/model/drafter-files.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { uploadLlama } from "../../../engine/runner/weights.ts";
import { GREEDY } from "../../../engine/sampling-params.ts";
import { attachDrafter } from "../../../engine/speculative/attach.ts";
import type { ViewedRows } from "../../../engine/speculative/draft-view.ts";
import { DRAFT_WIDTHS } from "../../../engine/speculative/draft-widths.ts";
import { ModelProposer } from "../../../engine/speculative/model-proposer.ts";
import { featuresFor } from "../../../engine/speculative/target-features.ts";
import { BLOCK_SIZE } from "../../../kvcache/ids.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { Random } from "../../support/random.ts";
import { randomEagle3Folder } from "./eagle3/random-drafter.ts";

const MAX_MODEL_LEN = 256;
const OPTIONS = { maxRows: 112, maxLogits: 1, maxModelLen: MAX_MODEL_LEN, numBlocks: 40, maxTableWords: 64, topK: 1 };
const SIZES = { maxNumSeqs: 4, treeNodes: 8, treeDepth: 3, treeTopK: 4, ...DRAFT_WIDTHS };
/** Rows of a pass in which each row is a sequence of its own: so many tables have room. */
const NUM_WIDE = 12;
const SMALL: LlamaConfig = {
  ...{ vocabSize: 256, hiddenSize: 64, numLayers: 7, numHeads: 2, numKvHeads: 1, headDim: 32, intermediateSize: 64 },
  ...{ maxPositionEmbeddings: MAX_MODEL_LEN, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: true },
};
const sampling = { params: GREEDY, choice: 0 };

/** A text, and where the target has it; the first is longer than a split of the portable family's attention. */
const random = new Random(3);
const SEQUENCES = [75, 30, 9].map((length, i) => ({
  tokenIds: Array.from({ length }, () => random.int(0, SMALL.vocabSize - 1)),
  targetTable: Array.from({ length: Math.ceil(length / BLOCK_SIZE) }, (_, block) => 1 + 3 * block + i),
}));
const NODES = { tokenIds: [0, 5, 9, 77], parents: [-1, 0, 0, 0], depths: [0, 1, 1, 1], firstNode: 1 };

describe.each(FAMILIES)("rows with logits among rows without, $name, $storage", (family) => {
  const test = useGpu();
  let eagle3Folder: string;
  beforeAll(() => {
    const frequent = Array.from({ length: 24 }, (_, i) => 5 + 9 * i);
    eagle3Folder = randomEagle3Folder(SMALL, frequent);
  });
  afterAll(() => rmSync(eagle3Folder, { recursive: true }));

  /** A drafter whose target has computed the texts. */
  async function open(kind: "eagle" | "eagle3" | "glide"): Promise<ModelProposer> {
    const gpu = test.context(family);
    const files = openDrafter(kind === "eagle3" ? eagle3Folder : resolveModel(`sapling-14m-${kind}`));
    if (!("kind" in files)) throw new Error("a model");
    const large = openModel(resolveModel("sapling-14m"));
    const config = kind === "eagle3" ? SMALL : { ...large.config, numLayers: 2 };
    const weights =
      kind === "eagle3"
        ? syntheticWeights(gpu, SMALL, "f32", MAX_MODEL_LEN)
        : uploadLlama(gpu.pool, family, config, large.weights, MAX_MODEL_LEN);
    large.weights.close();
    const features = featuresFor(files, config);
    const runner = await ModelRunner.create(gpu, { config, weights }, { ...OPTIONS, features });
    const proposer = await attachDrafter(files, { gpu, config, weights, runner }, SIZES);
    files.weights.close();
    if (!(proposer instanceof ModelProposer)) throw new Error("a proposer of another kind");
    for (const { tokenIds, targetTable: blockTable } of SEQUENCES) {
      const numTokens = tokenIds.length - 1;
      await runner.run([{ tokenIds, startPosition: 0, numTokens, blockTable, rootPosition: numTokens }]);
    }
    return proposer;
  }

  /** Rows of a sequence, whose own K and V go to blocks from `firstBlock` on. */
  const rowsOf = (sequence: number, { view }: ModelProposer, firstBlock: number) => {
    const { tokenIds, targetTable } = SEQUENCES[sequence] ?? { tokenIds: [], targetTable: [] };
    const end = tokenIds.length - view.shift;
    const blockTable = Array.from({ length: 6 }, (_, block) => firstBlock + 6 * sequence + block);
    const target = { blockTable: targetTable, numComputedTokens: tokenIds.length - 1 };
    const request = { id: `${sequence}`, tokenIds, ...sampling, maxNodes: 8, maxDepth: 3, target };
    const rows = { tokenIds, shift: view.shift, blockTable, rootPosition: end - 1 };
    const chunk = (from: number, to: number, isDrawn: boolean): ViewedRows => {
      const drawn = isDrawn ? { sampling } : {};
      return { request, rows: { ...rows, startPosition: from, numTokens: to - from, ...drawn } };
    };
    const tree = { request, rows: { ...rows, startPosition: end, numTokens: 0, tree: NODES, sampling } };
    return { end, chunk, tree };
  };

  /** A hash of each row's logits: they have the same bits or not. */
  const run = async ({ runner, view }: ModelProposer, batch: readonly ViewedRows[]) => {
    view.writeSources(batch);
    await runner.run(batch.map(({ rows }) => rows));
    return (await runner.readLogits()).map((logits) => createHash("sha256").update(logits).digest("hex"));
  };

  it.each(["eagle", "eagle3", "glide"] as const)("%s: the bits of a pass all of whose rows have them", async (kind) => {
    const drafter = await open(kind);
    // Every row with logits: a row each of their own, so many a pass.
    const wide: string[] = [];
    for (const sequence of SEQUENCES.keys()) {
      const { end, chunk } = rowsOf(sequence, drafter, 1);
      const rows = Array.from({ length: end }, (_, at) => chunk(at, at + 1, true));
      const logits: string[] = [];
      for (let from = 0; from < end; from += NUM_WIDE) {
        logits.push(...(await run(drafter, rows.slice(from, from + NUM_WIDE))));
      }
      wide.push(...logits.slice(-1));
    }
    const [first, second, third] = [0, 1, 2].map((sequence) => rowsOf(sequence, drafter, 20));
    if (!(first && second && third)) throw new Error("three sequences");
    // No row with logits; the last row of two sequences, of which one has rows behind that; a row alone among many.
    expect(await run(drafter, [first.chunk(0, 40, false)])).toEqual([]);
    const ends = [first.chunk(40, first.end, true), third.chunk(0, 5, false), second.chunk(0, second.end, true)];
    const narrow = await run(drafter, ends);
    narrow.push(...(await run(drafter, [third.chunk(5, third.end, true)])));
    expect(narrow).toEqual(wide);

    // What K, V and features the rows left shows in the rows below them.
    const levels = [1, 20].map((firstBlock) => [0, 1, 2].map((at) => rowsOf(at, drafter, firstBlock).tree));
    const [expected, found] = [await run(drafter, levels[0] ?? []), await run(drafter, levels[1] ?? [])];
    expect(expected).toHaveLength(9);
    expect(found).toEqual(expected);
  });

  it("behind K and V there is no work without logits, and no gathering where all rows have some", async () => {
    const { runner } = await open("glide");
    const groups = (numRows: number, numLogits: number) => {
      const found: number[] = [];
      const pass = {
        ...{ setPipeline() {}, setBindGroup() {}, setImmediates() {} },
        dispatchWorkgroups: (x: number, y: number, z: number) => found.push(x * y * z),
      };
      runner.encodeForward(pass as unknown as GPUComputePassEncoder, runner.sizeOf(numRows, numLogits, 10));
      return found;
    };
    const [none, two, all] = [groups(8, 0), groups(8, 2), groups(8, 8)];
    expect(all.slice(0, none.length)).toEqual(none);
    expect(two.slice(0, none.length)).toEqual(none);
    expect(all.length).toBeGreaterThan(2 * none.length);
    // Two dispatches gather, then there is what a pass of two rows does.
    expect(two.slice(none.length + 2)).toEqual(groups(2, 2).slice(groups(2, 0).length));
  });
});
