import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create, globals } from "webgpu";
import {
  attention,
  type Binding,
  commitKv,
  createGpuContext,
  embedding,
  type Gpu,
  type GpuContext,
  type KernelFamily,
  matmul,
  rmsNorm,
  ropeKv,
  sample,
  siluMul,
} from "../../kernels/index.ts";
import { everyAttention, NullKernels } from "./null-kernels.ts";

const FAMILIES: readonly KernelFamily[] = [
  { name: "portable", storage: "f32", rowTiles: [1, 4, 8], splitSize: 64 },
  { name: "portable", storage: "f16", rowTiles: [1, 4, 8], splitSize: 64 },
  { name: "subgroup", storage: "f32", rowTiles: [1, 2, 4, 8], splitSize: 256 },
  { name: "subgroup", storage: "f16", rowTiles: [1, 2, 4, 8], splitSize: 256 },
  { name: "matrix", storage: "f16", rowTiles: [1, 2, 4, 8], splitSize: 256 },
];
const FEATURES: readonly GPUFeatureName[] = [
  ...(["shader-f16", "subgroups"] as const),
  "chromium-experimental-subgroup-matrix" as GPUFeatureName,
];

// Dawn's null backend offers every feature and checks every shader, and runs nothing.
let instance: GPU | undefined;
let gpu: Gpu;

beforeAll(async () => {
  Object.assign(globalThis, globals);
  instance = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = await instance.requestAdapter();
  if (adapter === null) throw new Error("Dawn has no null adapter");
  const device = await adapter.requestDevice({ requiredFeatures: FEATURES });
  const traits = { software: true, subgroupSizes: [4, 128], f16: true, matrices: false } as const;
  gpu = { device, traits, adapterName: "null", driver: "", features: FEATURES, close: () => device.destroy() };
});

afterAll(() => gpu.close());

/** Compiles and binds every op of a model of the given shape. */
async function everyOp(context: GpuContext, shape: { headDim: number; size: number; topK: number }): Promise<void> {
  const { headDim, size, topK } = shape;
  const heads = { numHeads: 6, numKvHeads: 2, headDim };
  const buffer = () => context.pool.storage(1 << 16, "any");
  const cache = (): { kCache: Binding; vCache: Binding } => ({ kCache: buffer(), vCache: buffer() });
  const rows = { rowInfo: buffer(), tables: buffer(), slots: buffer() };
  const scratch = { partial: buffer(), stats: buffer(), out: buffer() };
  const product = { shape: { numInputs: size, numOutputs: size }, weights: buffer(), x: buffer(), y: buffer() };
  await Promise.all([
    everyAttention(context, headDim),
    attention(context, heads, { qkv: buffer(), ...cache(), ...rows, ...scratch, blockSize: 16 }),
    commitKv(context, { slotSize: size, moves: buffer(), ...cache() }),
    embedding(context, { hiddenSize: size, table: buffer(), tokenIds: buffer(), hidden: buffer() }),
    matmul(context, product),
    matmul(context, { ...product, accumulate: true }),
    ...[1e-5, 0].map((epsilon) =>
      rmsNorm(context, {
        ...{ hiddenSize: size, epsilon, x: buffer(), gain: buffer(), rowIndex: buffer(), out: buffer() },
      }),
    ),
    ropeKv(context, heads, { qkv: buffer(), rope: buffer(), ...rows, ...cache() }),
    ...[true, false].map((withShares) =>
      sample(
        context,
        { vocabSize: size + 3, topK, withShares },
        {
          ...{ logits: buffer(), rows: buffer(), threshold: buffer(), candidates: buffer(), sums: buffer() },
          ...{ tokens: buffer(), logShares: buffer() },
        },
      ),
    ),
    siluMul(context, { intermediateSize: size, gateUp: buffer(), out: buffer() }),
  ]);
}

describe("every shader compiles without a GPU", () => {
  it.each(FAMILIES)("$name family, $storage", async (family) => {
    const context = { ...createGpuContext(gpu, family), kernels: new NullKernels(gpu.device) };
    await context.guard.run(async () => {
      for (const headDim of [8, 24, 64, 256]) await everyOp(context, { headDim, size: 4 * headDim, topK: headDim / 8 });
    });
    expect(context.guard.failure).toBeUndefined();
    context.pool.destroyAll();
  });

  it("there is no WGSL file that no op uses", async () => {
    const kernels = new NullKernels(gpu.device);
    for (const family of FAMILIES) {
      await everyOp({ ...createGpuContext(gpu, family), kernels }, { headDim: 16, size: 32, topK: 2 });
    }
    const folder = join(import.meta.dirname, "../../kernels/wgsl");
    expect([...kernels.files].sort()).toEqual(readdirSync(folder).sort());
  });
});
