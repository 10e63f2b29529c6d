import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create, globals } from "webgpu";
import {
  addBias,
  addRmsNorm,
  attention,
  type Binding,
  commitFeatures,
  commitKv,
  createGpuContext,
  type DraftRules,
  draftCatchUp,
  draftGrow,
  draftPoolBytes,
  draftTree,
  eagle3Input,
  eagle3Levels,
  eagleInput,
  embedding,
  featureStore,
  type Gpu,
  type GpuContext,
  gatedMatmul,
  gatherFeatures,
  gatherRows,
  type KernelFamily,
  keepFeatures,
  kvLayout,
  kvSlotBytes,
  laneBudget,
  laneHistory,
  laneRows,
  laneUnite,
  laneWalk,
  logProbs,
  matmul,
  medusaBlock,
  medusaPaths,
  medusaRows,
  medusaTree,
  processDraftLogits,
  processLogits,
  ropeKv,
  sample,
  siluMul,
  spreadLogits,
} from "../../kernels/index.ts";
import { everyAttention, NullKernels } from "./null-kernels.ts";

const FAMILIES: readonly KernelFamily[] = [
  { name: "portable", storage: "f32", rowTiles: [1, 2, 3, 4, 8], splitSize: 64 },
  { name: "portable", storage: "f16", rowTiles: [1, 2, 3, 4, 8], splitSize: 64 },
  { name: "subgroup", storage: "f32", rowTiles: [1, 2, 4, 8], splitSize: 256 },
  { name: "subgroup", storage: "f16", rowTiles: [1, 2, 4, 8], splitSize: 256 },
  { name: "matrix", storage: "f16", rowTiles: [8, 16, 32, 64], splitSize: 256 },
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
  const { maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: FEATURES,
    requiredLimits: { maxComputeWorkgroupStorageSize, maxStorageBuffersPerShaderStage },
  });
  const traits = { software: true, subgroupSizes: [4, 128], f16: true, matrices: true } as const;
  gpu = { device, traits, adapterName: "null", driver: "", features: FEATURES, close: () => device.destroy() };
});

afterAll(() => gpu.close());

/** Compiles and binds every op of a model of the given shape. */
async function everyOp(context: GpuContext, sizes: { headDim: number; size: number; topK: number }): Promise<void> {
  const { headDim, size, topK } = sizes;
  const heads = { numHeads: 6, numKvHeads: 2, headDim };
  const buffer = () => context.pool.storage(1 << 16, "any");
  const cache = (): { kCache: Binding; vCache: Binding } => ({ kCache: buffer(), vCache: buffer() });
  const rows = { rowInfo: buffer(), tables: buffer(), slots: buffer() };
  const scratch = { partial: buffer(), stats: buffer() };
  const x = { buffer: buffer(), maxRows: 64, numInputs: size };
  const product = (numOutputs: number, numRanges = 1) => ({ buffer: buffer(), maxRows: 64, numOutputs, numRanges });
  const float = context.family.storage;
  const formats = context.family.name === "portable" ? (["f32"] as const) : ([float, "q8", "q4"] as const);
  const lanes = buffer();
  const shape = { maxNodes: topK + 1, maxRecent: topK + 1 };
  const batch = {
    ...{ buffer: buffer(), tokenIds: 0, slots: 256, rowInfo: 512, logitRows: 768, samplingRows: 1024, tables: 2048 },
    ...{ tableWords: 8, paths: 64, maxPath: topK, blockSize: 16 },
  };
  const draft = {
    lanes,
    drawn: buffer(),
    logShares: buffer(),
    pools: context.pool.storage(draftPoolBytes(shape, { topK, numExpanded: topK }), "pools"),
  };
  const medusa = {
    ...{ lanes, numHeads: 4, headsPerGroup: 4, tables: buffer(), tableWords: 8, blockSize: 16, slots: buffer() },
    ...{ roots: buffer(), samplingRows: buffer(), samplingStride: 64, children: buffer(), topK },
  };
  const paths = {
    ...{ ...medusa, results: buffer(), resultStride: 64 },
    successors: { buffer: buffer(), numRows: 8, numSuccessors: 4 },
  };
  const walk = { lanes, drawn: buffer(), tables: buffer(), moves: buffer(), tableWords: 8, blockSize: 16 };
  await Promise.all([
    everyAttention(context, headDim),
    attention(context, heads, {
      q: buffer(),
      shards: [cache(), cache()],
      ...rows,
      ...scratch,
      out: { ...x, numInputs: 6 * headDim },
      blockSize: 16,
    }),
    commitKv(context, {
      ...{
        numSections: 2,
        moves: buffer(),
        ...cache(),
        layout: kvLayout(context.family, { numKvHeads: 1, headDim: size }),
      },
      sectionBytes: 16 * kvSlotBytes(context.family, { numKvHeads: 1, headDim: size }),
    }),
    embedding(context, {
      hiddenSize: size,
      table: [{ rows: buffer(), firstToken: 0, numTokens: 8 }],
      tokenIds: buffer(),
      hidden: buffer(),
    }),
    ...everyDraftRules(buffer, topK).flatMap((rules) => [
      draftCatchUp(context, shape, rules, lanes, batch),
      draftGrow(context, shape, rules, draft, batch),
      draftTree(context, shape, rules, draft),
    ]),
    medusaRows(context, shape, medusa),
    medusaTree(context, shape, { ...medusa, leaves: buffer() }),
    medusaTree(context, shape, { ...medusa, leaves: buffer() }, buffer()),
    medusaPaths(context, paths),
    laneBudget(context, shape, lanes, 8),
    ...[0, 1].map((member) => laneUnite(context, shape, { lanes, unions: buffer() }, { member, numMembers: 2 })),
    laneUnite(
      context,
      shape,
      { lanes, unions: buffer() },
      { member: 1, numMembers: 2 },
      { children: buffer(), topK: 7 },
    ),
    laneRows(context, shape, lanes, batch),
    laneWalk(context, shape, walk),
    laneHistory(context, shape, { vocabSize: size, maxHistory: 64 }, { lanes, processors: buffer() }),
    processLogits(
      context,
      { vocabSize: size, maxHistory: 64 },
      { batch, processors: buffer(), counts: buffer(), logits: buffer(), processed: buffer() },
    ),
    processDraftLogits(
      context,
      { vocabSize: size, maxHistory: 64 },
      { rows: buffer(), processors: buffer(), counts: buffer(), logits: buffer(), processed: buffer() },
    ),
    logProbs(
      context,
      { vocabSize: size, maxLogits: 8 },
      {
        ...{ logits: buffer(), drawn: buffer(), greedyRows: buffer(), threshold: buffer(), candidates: buffer() },
        ...{ sums: buffer(), results: buffer() },
      },
    ),
    ...formats.map((format) => {
      const scales = format === "q8" || format === "q4" ? { scales: buffer() } : {};
      const part = (firstOutput: number) => ({ values: buffer(), ...scales, firstOutput, numOutputs: size });
      return matmul(context, { weights: { format, parts: [part(0), part(size)] }, x, y: product(2 * size) });
    }),
    ...[{ epsilon: 1e-5 }, { epsilon: 0, product: product(size, 3) }].map((args) =>
      addRmsNorm(context, {
        ...{ hiddenSize: size, hidden: buffer(), gain: buffer(), rowIndex: buffer(), out: x, ...args },
      }),
    ),
    ropeKv(context, heads, {
      qkv: product(10 * headDim, 2),
      rope: buffer(),
      ...rows,
      shards: [cache(), cache()],
      q: buffer(),
    }),
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
    ...everyDrafterOp(context, size),
    siluMul(context, { gateUp: product(2 * size), out: x }),
    ...formats.map((format) => {
      const scales = format === "q8" || format === "q4" ? { scales: buffer() } : {};
      const parts = [{ values: buffer(), ...scales, firstOutput: 0, numOutputs: size }];
      const args = { weights: { format, parts }, gateUp: product(2 * size, 3), x, y: product(size) };
      return gatedMatmul(context, args, 16);
    }),
  ]);
}

/** Of a draft model, EAGLE and GLIDE. */
function everyDraftRules(buffer: () => GPUBuffer, topK: number): DraftRules[] {
  const [sources, tables, tableWords] = [buffer(), buffer(), 8];
  const widths = { buffer: buffer(), count: 2 };
  const common = { topK, numExpanded: topK, shift: 0 };
  const rules: DraftRules[] = [
    { ...common, reads: { kind: "text" } },
    { ...common, shift: 1, reads: { kind: "features", sources, tables, tableWords } },
    { ...common, reads: { kind: "keys", rowInfo: sources, tableWords }, widths },
  ];
  return rules.flatMap((rule) => [rule, { ...rule, shapeChildren: buffer() }]);
}

/** Ops that only drafters have. */
function everyDrafterOp(context: GpuContext, size: number) {
  const buffer = () => context.pool.storage(1 << 16, "any");
  const x = (numInputs: number) => ({ buffer: buffer(), maxRows: 64, numInputs });
  const product = { buffer: buffer(), maxRows: 64, numOutputs: size, numRanges: 2 };
  const features = featureStore(buffer(), size);
  const halves = [buffer(), buffer()].map((half) => ({ buffer: half, width: size / 2 }));
  const [hidden, slots, bias] = [buffer(), buffer(), buffer()];
  const kept = { hiddenSize: size, hidden, product, slots, features };
  return [
    keepFeatures(context, kept),
    keepFeatures(context, { ...kept, norm: { gain: buffer(), epsilon: 1e-5 } }),
    commitFeatures(context, buffer(), features),
    gatherFeatures(context, { features, slots, rows: buffer(), out: x(size) }, ({ numRows }) => numRows),
    gatherRows(
      context,
      {
        rows: buffer(),
        tables: [
          { width: size, from: hidden, out: buffer() },
          { width: 4, from: buffer(), out: buffer() },
        ],
      },
      ({ numLogits }) => numLogits,
    ),
    medusaBlock(context, { product, bias, slots, features, isFirst: true, state: buffer(), out: x(size), head: 1 }),
    eagleInput(context, {
      ...{ table: buffer(), tokenIds: buffer(), sources: buffer(), target: features },
      ...{ own: features, out: x(2 * size) },
    }),
    addBias(context, { product, bias, hidden, out: x(size) }),
    eagle3Levels(context, { sources: buffer(), levels: features, out: x(size) }),
    ...[features, { ...features, sections: halves }].map((own) =>
      eagle3Input(context, {
        ...{ table: buffer(), tokenIds: buffer(), sources: buffer(), fused: product, own, gains: buffer() },
        ...{ epsilon: 1e-5, hidden, out: x(2 * size) },
      }),
    ),
    spreadLogits(context, {
      ...{ vocabSize: 2 * size, reduced: { ...product, numRanges: 1 }, places: buffer(), logits: buffer() },
    }),
  ];
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

  it.each(FAMILIES.flatMap((family) => (["f32", "q8"] as const).map((kv) => ({ ...family, kv }))))(
    "$name family, $storage, keys and values in $kv",
    async (family) => {
      const context = { ...createGpuContext(gpu, family), kernels: new NullKernels(gpu.device) };
      await context.guard.run(() => everyOp(context, { headDim: 64, size: 256, topK: 8 }));
      expect(context.guard.failure).toBeUndefined();
      context.pool.destroyAll();
    },
  );

  it("there is no WGSL file that no op uses", async () => {
    const kernels = new NullKernels(gpu.device);
    for (const family of FAMILIES.flatMap((family) => [family, { ...family, kv: "q8" as const }])) {
      await everyOp({ ...createGpuContext(gpu, family), kernels }, { headDim: 16, size: 32, topK: 2 });
    }
    const folder = join(import.meta.dirname, "../../kernels/wgsl");
    expect([...kernels.files].sort()).toEqual(readdirSync(folder).sort());
  });
});
