import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create } from "webgpu";
import { createGpuContext, type GpuContext, type KernelFamily } from "../../kernels/index.ts";
import { firstDifferentBits, uniform } from "../support/arrays.ts";
import { ADAPTER, FAMILIES, useGpu } from "../support/gpu.ts";
import { Random } from "../support/random.ts";
import { attend, randomCache, rowOver } from "./ops/attention-case.ts";
import { MAX_HISTORY, processAll, randomCase } from "./ops/logits-processors-case.ts";
import { multiply, randomProduct } from "./ops/matmul-case.ts";
import { draw, PLAIN } from "./ops/sampling-case.ts";

/**
 * The engine runs without Dawn's bounds checks. With them, an access out of bounds is moved inside or dropped; a kernel
 * that made one would give other bits, or cells that a neighbour had written.
 */
const test = useGpu();
let instance: GPU | undefined;
let robust: GPUDevice;

beforeAll(async () => {
  instance = create(["enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia"]);
  const adapter = await instance.requestAdapter({ forceFallbackAdapter: ADAPTER === "software" });
  if (adapter === null) throw new Error("no adapter");
  const requiredFeatures = (["subgroups", "shader-f16"] as const).filter((name) => adapter.features.has(name));
  robust = await adapter.requestDevice({ requiredFeatures });
});
afterAll(() => robust.destroy());

describe.each(FAMILIES)("$name family, $storage: the same bits with bounds checks and without", (family) => {
  let checked: GpuContext;
  beforeAll(() => {
    checked = contextOf(robust, family);
  });

  /** What a run gives on both devices: without checks, with checks. */
  async function both<T>(run: (gpu: GpuContext) => Promise<T>): Promise<readonly [T, T]> {
    return [await run(test.context(family)), await run(checked)];
  }

  it("products of odd sizes", async () => {
    for (const [numInputs, numOutputs, numRows] of [
      [4, 4, 1],
      [36, 20, 3],
      [68, 132, 9],
    ] as const) {
      const product = randomProduct(new Random(1), { numInputs, numOutputs }, numRows);
      const [unchecked, safe] = await both((gpu) => multiply(gpu, family.rowTiles, product));
      expect(firstDifferentBits(unchecked, safe)).toBe(-1);
    }
  });

  it("attention at the ends of splits and blocks", async () => {
    const heads = { numHeads: 3, numKvHeads: 1, headDim: 24 };
    const random = new Random(2);
    const numBlocks = Math.ceil((family.splitSize + 20) / 16);
    const table = Array.from({ length: numBlocks }, (_, i) => i);
    const cache = randomCache(random, heads, numBlocks * 16);
    const last = numBlocks * 16 - 1;
    const positions = [0, 15, 16, family.splitSize - 1, family.splitSize, last];
    const rows = positions.map((position, i) => rowOver(random, heads, table, position, i % 2));
    const [unchecked, safe] = await both((gpu) => attend(gpu, heads, 16, cache, rows));
    expect(unchecked.map((row, i) => firstDifferentBits(row, safe[i] ?? row))).toEqual(rows.map(() => -1));
  });

  it("draws from vocabularies of odd sizes", async () => {
    const random = new Random(3);
    for (const vocabSize of [1, 33, 259]) {
      const rows = [0, 1, 2].map((position) => ({ ...PLAIN, position, topK: position, topP: 0.9 }));
      const logits = rows.map(() => uniform(random, vocabSize, 4));
      const [unchecked, safe] = await both((gpu) => draw(gpu, { vocabSize, topK: 2, withShares: true }, logits, rows));
      expect(unchecked).toEqual(safe);
    }
  });

  it("processed logits of vocabularies of odd sizes", async () => {
    const random = new Random(4);
    for (const vocabSize of [2, 33, 259]) {
      const shape = { vocabSize, maxHistory: MAX_HISTORY };
      const cases = Array.from({ length: 4 }, () => randomCase(random, vocabSize));
      const logits = cases.flatMap(({ tree }) => tree.tokenIds.map(() => uniform(random, vocabSize, 4)));
      const [unchecked, safe] = await both((gpu) => processAll(gpu, shape, cases, logits));
      expect(unchecked.map((row, i) => firstDifferentBits(row, safe[i] ?? row))).toEqual(logits.map(() => -1));
    }
  });
});

function contextOf(device: GPUDevice, family: KernelFamily): GpuContext {
  const traits = { software: true, subgroupSizes: [4, 4], f16: false, matrices: false } as const;
  return createGpuContext({ device, traits }, family);
}
