import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { weightFormats } from "../../bench/random-weights.ts";
import { syntheticWeights } from "../../bench/synthetic.ts";
import type { LlamaConfig } from "../../engine/model/types.ts";
import { ModelRunner } from "../../engine/runner/model-runner.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { createGpuContext, type Gpu, type KernelFamily, openGpu } from "../../kernels/index.ts";

const CONFIG: LlamaConfig = {
  ...{ vocabSize: 256, hiddenSize: 64, numLayers: 2, numHeads: 4, numKvHeads: 2, headDim: 16, intermediateSize: 128 },
  ...{ maxPositionEmbeddings: 64, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: true },
};
const LIMITS = { maxRows: 16, maxLogits: 4, maxModelLen: 64, numBlocks: 5, maxTableWords: 64, topK: 1 };
const FAMILIES: readonly KernelFamily[] = [
  { name: "portable", storage: "f32", rowTiles: [1, 2, 3, 4, 8], splitSize: 64 },
  { name: "subgroup", storage: "f32", rowTiles: [1, 2, 4, 8], splitSize: 256 },
];

let device: Gpu;
beforeAll(async () => {
  device = await openGpu("software");
});
afterAll(() => device.close());

describe.each(FAMILIES)("$name", (family) => {
  it("runs random weights in every format: logits of the size of one, and not all the same", async () => {
    const gpu = createGpuContext(device, family);
    for (const format of weightFormats(gpu)) {
      const weights = syntheticWeights(gpu, CONFIG, format, LIMITS.maxModelLen);
      const runner = await ModelRunner.create(gpu, { config: CONFIG, weights }, LIMITS);
      await runner.run([
        {
          ...{ tokenIds: [1, 50, 99, 200, 7], startPosition: 0, numTokens: 5, blockTable: [1], rootPosition: 4 },
          sampling: { params: GREEDY, choice: 0 },
        },
      ]);
      const [logits = new Float32Array()] = await runner.readLogits();
      const power = logits.reduce((sum, logit) => sum + logit * logit, 0) / logits.length;
      expect(logits).toHaveLength(CONFIG.vocabSize);
      // Weights of variance 1 / numInputs behind a norm give logits of variance 1, 256 of them within a factor of 2 by far.
      expect(power, format).toBeGreaterThan(0.5);
      expect(power, format).toBeLessThan(2);
    }
    gpu.pool.destroyAll();
  });
});
