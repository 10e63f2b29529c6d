import { afterAll, beforeAll, expect, it } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { EngineKernels } from "../../engine/client.ts";
import { assembleEngine } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import type { DrafterChoice } from "../../engine/engine-options.ts";
import { EngineOptionsError } from "../../engine/errors.ts";
import { resolveModel } from "../../engine/model/bundled.ts";
import { openModel } from "../../engine/model/open.ts";
import { closeDrafters, openDrafters } from "../../engine/open-drafters.ts";
import { GREEDY, type SamplingParams } from "../../engine/sampling-params.ts";
import { BufferPool, createGpuContext, type Gpu, type GpuContext, openGpu } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import { generate } from "../support/collect.ts";

const OPTIONS = { maxModelLen: 192, maxNumSeqs: 4, tokenBudget: 48, treeNodes: 6, checkInvariants: true } as const;
const NUM_BLOCKS = 120;
/** Of the keys of one head of a layer, of which there are two. */
const HEAD_BYTES = NUM_BLOCKS * BLOCK_SIZE * 64 * 4;
const SAMPLED: SamplingParams = { ...GREEDY, temperature: 0.9, seed: [3, 4] };
const PROMPTS = referencePrompts()
  .slice(0, 2)
  .map(({ promptTokens }) => promptTokens);

let device: Gpu;
let shared: GpuContext;
const engines: Engine[] = [];

beforeAll(async () => {
  device = await openGpu("software");
  shared = createGpuContext(device);
});
afterAll(async () => {
  for (const engine of engines) await engine.close();
  device.close();
});

/** @param maxBytes that the adapter binds as one buffer */
async function open(drafter: DrafterChoice, maxBytes: number, kernels?: EngineKernels): Promise<Engine> {
  const model = openModel(resolveModel("sapling-14m"));
  const drafters = openDrafters(drafter, model);
  const context = { ...shared, pool: new BufferPool(device.device, maxBytes) };
  // One layer of it will do: which texts they are does not matter here.
  const shallow = { ...model, config: { ...model.config, numLayers: 1 } };
  const options = { ...OPTIONS, numKvBlocks: NUM_BLOCKS, ...(kernels ? { kernels } : {}) };
  try {
    const engine = await assembleEngine(options, { ...device, close: () => {} }, context, shallow, drafters);
    engines.push(engine);
    return engine;
  } finally {
    closeDrafters(drafters);
    model.weights.close();
  }
}

/** Two choices of each prompt side by side, greedy, then sampled, when the prompts are found in the cache. */
async function textsOf(engine: Engine) {
  const texts = [];
  for (const params of [GREEDY, SAMPLED].map((one) => ({ ...one, maxTokens: 10 }))) {
    const both = PROMPTS.flatMap((prompt) => [0, 1].map((choice) => generate(engine, prompt, params, choice)));
    texts.push(...(await Promise.all(both)));
  }
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
  return {
    tokenIds: texts.map(({ tokenIds }) => tokenIds),
    numAccepted: sum(texts.map(({ numAccepted }) => numAccepted)),
    numCached: sum(texts.map(({ outputs }) => outputs.at(-1)?.numCachedTokens ?? 0)),
  };
}

it("keys and values of a layer in two bindings, GLIDE's and those it reads: the tokens of plain decoding in one", async () => {
  const plain = await open("none", 4 * HEAD_BYTES);
  const expected = await textsOf(plain);
  const { kernels } = plain.info;
  const actual = await textsOf(await open("glide", HEAD_BYTES, kernels));
  expect(actual.tokenIds).toEqual(expected.tokenIds);
  expect(actual.numAccepted).toBeGreaterThan(0);
  expect(actual.numCached).toBeGreaterThan(0);

  // Less than a head cannot be bound.
  const tooSmall = open("none", HEAD_BYTES - 256, kernels);
  await expect(tooSmall).rejects.toThrow(EngineOptionsError);
  await expect(tooSmall).rejects.toThrow(/^120 KV blocks need .* for keys of one head of a layer, .* 119 --kv-blocks$/);
});
