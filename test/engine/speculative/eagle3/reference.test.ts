import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openDrafter } from "../../../../engine/model/drafter-files.ts";
import { ModelRunner } from "../../../../engine/runner/model-runner.ts";
import { GREEDY } from "../../../../engine/sampling-params.ts";
import type { ViewedRows } from "../../../../engine/speculative/draft-view.ts";
import { FeatureSources } from "../../../../engine/speculative/eagle/feature-sources.ts";
import { eagle3Decoder } from "../../../../engine/speculative/eagle3/decoder.ts";
import { uploadEagle3 } from "../../../../engine/speculative/eagle3/weights.ts";
import { BLOCK_SIZE } from "../../../../kvcache/ids.ts";
import { expectClose } from "../../../support/arrays.ts";
import { uploadStore } from "../../../support/feature-stores.ts";
import { FAMILIES, useGpu } from "../../../support/gpu.ts";

/** What reference.py wrote: PyTorch's results in f64. */
interface Expected {
  readonly known: readonly number[];
  readonly tree: readonly (readonly [tokenId: number, parent: number])[];
  readonly draftTokenIds: readonly number[];
  /** [known − 1, 3 · hiddenSize] */
  readonly levels: readonly (readonly number[])[];
  /** [1 + tree, draft vocabulary]: of the root, then of each node */
  readonly logits: readonly (readonly number[])[];
}

const FIXTURE = join(import.meta.dirname, "fixture");
const OPTIONS = { maxRows: 16, maxLogits: 8, maxModelLen: 64, numBlocks: 4, maxTableWords: 64, topK: 1 };
const TARGET_TABLE = [3, 1];
const OWN_TABLE = [2];
const sampling = { params: GREEDY, choice: 0 };

describe.each(FAMILIES)("an EAGLE-3 drafter of the public layout, $name, $storage", (family) => {
  const test = useGpu();

  it("gives PyTorch's logits for known tokens and down a tree, over the draft vocabulary alone", async () => {
    const gpu = test.context(family);
    const { known, tree, draftTokenIds, levels, logits } = JSON.parse(
      readFileSync(join(FIXTURE, "expected.json"), "utf8"),
    ) as Expected;
    const files = openDrafter(FIXTURE);
    if (!("kind" in files) || files.kind !== "eagle3") throw new Error("it is no EAGLE-3 drafter");
    expect(files.draftTokenIds).toEqual(draftTokenIds);
    const { hiddenSize, vocabSize } = files.config;

    // The levels lie in the midst of what the target keeps of a slot.
    const [stride, offset, size] = [5 * hiddenSize, hiddenSize, 3 * hiddenSize];
    const kept = new Float32Array(OPTIONS.numBlocks * BLOCK_SIZE * stride).fill(7);
    for (const [position, values] of levels.entries()) {
      kept.set(values, ((TARGET_TABLE[0] ?? 0) * BLOCK_SIZE + position) * stride + offset);
    }
    // Cut so that a level lies in two buffers.
    const features = { ...uploadStore(gpu, kept, stride, 2 * hiddenSize + 12), offset, size };
    const table = gpu.pool.storage(4 * vocabSize * hiddenSize, "not its own");
    const embedding = [{ rows: table, firstToken: 0, numTokens: vocabSize }];
    const sources = new FeatureSources(gpu, OPTIONS.maxRows);
    const weights = uploadEagle3(gpu, files, OPTIONS.maxModelLen);
    files.weights.close();
    const decoder = eagle3Decoder(gpu, weights, files, { weights: { embedding }, features }, sources);
    const { config } = files;
    const runner = await ModelRunner.create(gpu, { config, decoder }, { ...OPTIONS, features: ["final"] });

    const numTokens = known.length - 1;
    const target = { blockTable: TARGET_TABLE, numComputedTokens: numTokens };
    const request = { id: "a", tokenIds: known, ...sampling, maxNodes: 8, maxDepth: 4, target };
    const rows = { tokenIds: known, shift: 1, blockTable: OWN_TABLE, rootPosition: numTokens - 1, sampling };
    const nodes = [{ token: known.at(-1) ?? 0, parent: -1 }, ...tree.map(([token, parent]) => ({ token, parent }))];
    const depths: number[] = [];
    for (const { parent } of nodes) depths.push(1 + (depths[parent] ?? -1));
    const passes: ViewedRows["rows"][] = [{ ...rows, startPosition: 0, numTokens }];
    for (let depth = 1; depth <= Math.max(...depths); depth++) {
      const level = nodes.slice(0, depths.lastIndexOf(depth) + 1);
      passes.push({
        ...{ ...rows, startPosition: numTokens, numTokens: 0 },
        tree: {
          tokenIds: level.map(({ token }) => token),
          parents: level.map(({ parent }) => parent),
          ...{ depths, firstNode: depths.indexOf(depth) },
        },
      });
    }
    const found: Float32Array[] = [];
    for (const pass of passes) {
      sources.write([{ request, rows: pass }]);
      await runner.run([pass]);
      found.push(...(await runner.readLogits()));
    }

    expect(found).toHaveLength(logits.length);
    // Sums of at most 96 products of values below 10 in f32, through a layer; with f16 weights in storage they are exact, features are not.
    const absolute = family.storage === "f16" ? 2e-2 : 5e-5;
    for (const [row, values] of found.entries()) {
      const drafted = draftTokenIds.map((tokenId) => values[tokenId] ?? Number.NaN);
      expectClose(drafted, logits[row] ?? [], { absolute }, `logits of row ${row}`);
      expect([...values].filter((value) => !Number.isNaN(value))).toHaveLength(draftTokenIds.length);
    }
  });
});
