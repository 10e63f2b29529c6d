import { describe, expect, it } from "vitest";
import type { LlamaConfig, WeightSource } from "../../../../engine/model/types.ts";
import { GREEDY } from "../../../../engine/sampling-params.ts";
import { MedusaRunner } from "../../../../engine/speculative/medusa/runner.ts";
import { noSuccessors } from "../../../../engine/speculative/medusa/successors.ts";
import { uploadMedusa } from "../../../../engine/speculative/medusa/weights.ts";
import { featureStore, logitsStride, packRows, uploadMatrix } from "../../../../kernels/index.ts";
import { medusaBlockReference } from "../../../../kernels/reference/medusa-block.ts";
import { uniform, uniformHalves } from "../../../support/arrays.ts";
import { FAMILIES, useGpu } from "../../../support/gpu.ts";
import { Random } from "../../../support/random.ts";

const [HIDDEN, VOCAB, SLOTS, TOP_K] = [16, 64, 32, 5];
const CONFIG: LlamaConfig = {
  ...{ vocabSize: VOCAB, hiddenSize: HIDDEN, numLayers: 1, numHeads: 1, numKvHeads: 1, headDim: 16 },
  ...{ intermediateSize: 16, maxPositionEmbeddings: 64, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: true },
};

/** Weights in memory, by name. */
function sourceOf(tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>) {
  const find = (name: string) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`no tensor ${name}`);
    return tensor;
  };
  return {
    names: () => [...tensors.keys()],
    has: (name) => tensors.has(name),
    info: (name) => ({ name, type: "F32", shape: find(name).shape }),
    readF32: (name) => find(name).values,
    readBlocks: (name) => ({ format: "float", values: find(name).values, lowPrecision: false }),
    close() {},
  } satisfies WeightSource;
}

/** W x in f32: w [numOutputs, x.length]. */
function multiply(w: Float32Array, x: Float32Array): Float32Array {
  return Float32Array.from({ length: w.length / x.length }, (_, row) =>
    x.reduce((sum, value, i) => sum + value * (w[row * x.length + i] ?? 0), 0),
  );
}

describe.each(FAMILIES)("Medusa's heads, $name, $storage", (family) => {
  const test = useGpu();

  it.each([
    { numHeads: 4, numBlocks: 1, own: false, prefix: "medusa_head." },
    { numHeads: 3, numBlocks: 2, own: false, prefix: "medusa_head." },
    { numHeads: 3, numBlocks: 2, own: true, prefix: "medusa_head." },
    { numHeads: 2, numBlocks: 1, own: true, prefix: "" },
  ])("$numHeads heads of $numBlocks blocks, LM heads of their own: $own", async (layout) => {
    const { numHeads, numBlocks, own, prefix } = layout;
    const gpu = test.context(family);
    const random = new Random(numHeads + numBlocks);
    const tensors = new Map<
      string,
      { readonly shape: readonly number[]; readonly values: Float32Array<ArrayBuffer> }
    >();
    const add = (name: string, ...shape: number[]) => {
      const values = uniform(
        random,
        shape.reduce((a, b) => a * b),
        0.5,
      );
      tensors.set(prefix + name, { shape, values });
    };
    for (let head = 0; head < numHeads; head++) {
      for (let block = 0; block < numBlocks; block++) {
        add(`${head}.${block}.linear.weight`, HIDDEN, HIDDEN);
        add(`${head}.${block}.linear.bias`, HIDDEN);
      }
      if (own) add(`${head}.${numBlocks}.weight`, VOCAB, HIDDEN);
    }
    const sharedHead = uniform(random, VOCAB * HIDDEN);
    const store = uniformHalves(random, SLOTS * HIDDEN, 2);
    const heads = uploadMedusa(gpu, { weights: sourceOf(tensors), path: "test" }, CONFIG);
    expect(heads).toHaveLength(numHeads);
    const shape = { numInputs: HIDDEN, numOutputs: logitsStride(VOCAB) };
    const blocks = { format: "float", values: sharedHead, lowPrecision: false } as const;
    const target = {
      ...{ config: CONFIG, lmHead: uploadMatrix(gpu.pool, family, shape, blocks, "lmHead") },
      features: featureStore(gpu.pool.upload(packRows(family, store), "features"), HIDDEN),
      requestSampling: undefined,
    };
    const sizes = { maxNumSeqs: 4, topK: TOP_K };
    const runner = await MedusaRunner.create(gpu, heads, target, sizes, noSuccessors(gpu.pool));
    const slots = [7, 0, 31];
    const found = await runner.run(
      slots.map((slot, i) => ({ slot, rootTokenId: 3 * i, position: 9 + i, params: GREEDY, choice: 0 })),
    );

    const values = (name: string) => tensors.get(prefix + name)?.values ?? new Float32Array();
    for (const [i, slot] of slots.entries()) {
      const below = found[i] ?? (() => []);
      expect(below(numHeads, 0)).toEqual([]);
      for (let head = 0; head < numHeads; head++) {
        let x: Float32Array = store.slice(slot * HIDDEN, (slot + 1) * HIDDEN);
        for (let block = 0; block < numBlocks; block++) {
          const product = multiply(values(`${head}.${block}.linear.weight`), x);
          x = Float32Array.from(medusaBlockReference(x, product, values(`${head}.${block}.linear.bias`)));
        }
        const logits = [...multiply(own ? values(`${head}.${numBlocks}.weight`) : sharedHead, x)];
        const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
        const best = logits.map((logit, tokenId) => ({ tokenId, logSurvival: logit - total }));
        best.sort((a, b) => b.logSurvival - a.logSurvival);
        // Weights in f16 have an error of 2⁻¹¹ of values below 1, over two blocks and an LM head of 16 inputs each.
        const digits = family.storage === "f16" ? 1 : 3;
        const mine = below(head, 0);
        expect(mine.map(({ rank }) => rank)).toEqual([0, 1, 2, 3, 4]);
        // Without a table a head says the same below every node.
        if (head > 0) for (let rank = 1; rank < TOP_K; rank++) expect(below(head, rank)).toEqual(mine);
        for (const [rank, { tokenId, logSurvival }] of mine.entries()) {
          expect(logSurvival).toBeCloseTo(best[rank]?.logSurvival ?? 0, digits);
          expect(logSurvival).toBeCloseTo((logits[tokenId] ?? 0) - total, digits);
        }
      }
    }
  });

  it("refuses heads of another size, and files without heads", () => {
    const gpu = test.context(family);
    const tensors = new Map([
      ["medusa_head.0.0.linear.weight", { shape: [8, 8], values: new Float32Array(64) }],
      ["medusa_head.0.0.linear.bias", { shape: [8], values: new Float32Array(8) }],
    ]);
    expect(() => uploadMedusa(gpu, { weights: sourceOf(tensors), path: "p" }, CONFIG)).toThrow(/is \[8, 8\]/);
    expect(() => uploadMedusa(gpu, { weights: sourceOf(new Map()), path: "p" }, CONFIG)).toThrow(/no tensor/);
  });
});
