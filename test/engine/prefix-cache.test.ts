import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referencePrompts } from "../../bench/prompts.ts";
import type { EngineRequest } from "../../engine/client.ts";
import { GREEDY, type SamplingParams } from "../../engine/sampling-params.ts";
import { createGpuContext, type Gpu, type GpuContext, openGpu } from "../../kernels/index.ts";
import { BLOCK_SIZE } from "../../kvcache/ids.ts";
import { ADAPTER } from "../support/gpu.ts";
import { cachesOf } from "../support/kv-shards.ts";
import { type OpenedEngine, openEngine } from "./resident/open-engine.ts";

const WARM: SamplingParams = { ...GREEDY, temperature: 0.8, topP: 0.95, seed: [5, 6] };
const all = referencePrompts().flatMap(({ promptTokens }) => promptTokens);
const textOf = (length: number, from = 0) => all.slice(from, from + length);

/** What one sequence gave, and its K/V as the cache had it at the end. */
interface Run {
  readonly tokenIds: readonly number[];
  /** Tokens, drafted and accepted tokens of each step. */
  readonly steps: readonly (readonly [readonly number[], number, number])[];
  readonly numCachedTokens: number;
  readonly blockTable: readonly number[];
  /** Tokens whose K/V lies in those blocks. */
  readonly numComputed: number;
}

let device: Gpu;
let gpu: GpuContext;
let numRequests = 0;

beforeAll(async () => {
  device = await openGpu(ADAPTER);
  gpu = createGpuContext(device);
});
afterAll(() => {
  gpu.pool.destroyAll();
  device.close();
});

async function run(opened: OpenedEngine, request: Omit<EngineRequest, "id">): Promise<Run> {
  const { engine, blocks } = opened;
  const id = `run-${numRequests++}`;
  let blockTable: readonly number[] = [];
  const stop = engine.onStep(() => {
    engine.checkIntegrity();
    if (blocks.has(id)) blockTable = [...blocks.blockTable(id)];
  });
  const steps: [readonly number[], number, number][] = [];
  let numCachedTokens = 0;
  for await (const output of engine.generate({ ...request, id })) {
    steps.push([output.tokenIds, output.numDraft, output.numAccepted]);
    numCachedTokens = output.numCachedTokens ?? -1;
  }
  stop();
  const tokenIds = steps.flatMap(([tokens]) => tokens);
  // What the last step adds to the table comes too late to be seen.
  const numComputed = Math.min(request.promptTokenIds.length + tokenIds.length - 1, blockTable.length * BLOCK_SIZE);
  return { tokenIds, steps, numCachedTokens, blockTable, numComputed };
}

/** Of every layer, keys and values of the first `numTokens` positions. */
async function readKv(
  { runner, numLayers }: OpenedEngine,
  blockTable: readonly number[],
  numTokens: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let layer = 0; layer < numLayers; layer++) {
    for (const { buffer, offset, size } of cachesOf(runner.kv.layer(layer))) {
      const bytes = new Uint8Array(await gpu.pool.read(buffer, offset, size));
      const slotBytes = size / (runner.options.numBlocks * BLOCK_SIZE);
      for (let position = 0; position < numTokens; position++) {
        const slot = (blockTable[Math.floor(position / BLOCK_SIZE)] ?? 0) * BLOCK_SIZE + (position % BLOCK_SIZE);
        parts.push(bytes.slice(slot * slotBytes, (slot + 1) * slotBytes));
      }
    }
  }
  return Buffer.concat(parts);
}

describe.each([
  { drafts: false, stepsInFlight: 0 },
  { drafts: true, stepsInFlight: 0 },
  { drafts: true, stepsInFlight: 2 },
])("drafts: $drafts, $stepsInFlight steps in flight", (options) => {
  let cold: OpenedEngine;
  let warm: OpenedEngine;
  beforeAll(async () => {
    cold = await openEngine(gpu, options);
    warm = await openEngine(gpu, { ...options, prefixCache: true });
  });
  afterAll(() => Promise.all([cold.engine.close(), warm.engine.close()]));

  /** Both engines give the same tokens by the same trees, over the same bytes. @returns the cached tokens */
  async function expectSame(promptTokenIds: readonly number[], params: SamplingParams): Promise<Run> {
    const request = { promptTokenIds, params, choice: 0 };
    const [expected, got] = [await run(cold, request), await run(warm, request)];
    expect(got.tokenIds).toEqual(expected.tokenIds);
    expect(got.steps).toEqual(expected.steps);
    const numTokens = Math.min(got.numComputed, expected.numComputed);
    expect(numTokens).toBeGreaterThan(promptTokenIds.length);
    const [wanted, found] = [
      await readKv(cold, expected.blockTable, numTokens),
      await readKv(warm, got.blockTable, numTokens),
    ];
    expect(Buffer.compare(found, wanted)).toBe(0);
    return got;
  }

  it("a hit gives the bytes, the trees and the text of a miss, also a turn later", async () => {
    const params = { ...WARM, maxTokens: 20 };
    const prompt = textOf(70);
    const first = await expectSame(prompt, params);
    expect(first.numCachedTokens).toBe(0);
    const again = await expectSame(prompt, { ...params, seed: [8, 8] });
    expect(again.numCachedTokens).toBe(64);
    const turn = await expectSame([...prompt, ...first.tokenIds, ...textOf(9, 200)], { ...GREEDY, maxTokens: 20 });
    expect(turn.numCachedTokens).toBe(80);
    for (const { blocks, draftBlocks } of [cold, warm]) {
      for (const manager of [blocks, draftBlocks]) manager.checkIntegrity();
      expect(draftBlocks.usage).toBe(0);
    }
  });

  it("choices of one prompt compute it once: they hold its full blocks together and copy the rest, and give their own texts", async () => {
    const prompt = textOf(60, 300);
    const choices = [0, 1, 2, 3];
    let mostBlocks = 0;
    const stop = warm.engine.onStep(() => {
      mostBlocks = Math.max(mostBlocks, warm.blocks.usage * warm.blocks.numAllocatableBlocks);
    });
    // The last one goes on alone, so that no one takes its blocks before they are read.
    const requests = choices.map((choice) => ({
      ...{ promptTokenIds: prompt, choice },
      params: { ...WARM, maxTokens: choice === 3 ? 16 : 4 },
    }));
    const runs = await Promise.all(requests.map((request) => run(warm, request)));
    stop();
    const alone: Run[] = [];
    for (const request of requests) alone.push(await run(cold, request));
    expect(runs.map(({ tokenIds }) => tokenIds)).toEqual(alone.map(({ tokenIds }) => tokenIds));
    expect(runs.map(({ numCachedTokens }) => numCachedTokens)).toEqual([0, 59, 59, 59]);
    const [last, expected] = [runs.at(-1), alone.at(-1)];
    const numTokens = Math.min(last?.numComputed ?? 0, expected?.numComputed ?? 0);
    expect(numTokens).toBeGreaterThan(64);
    const found = await readKv(warm, last?.blockTable ?? [], numTokens);
    expect(Buffer.compare(found, await readKv(cold, expected?.blockTable ?? [], numTokens))).toBe(0);
    // Three shared blocks, and two of each choice's own: its last prompt tokens, its output and lookahead.
    expect(mostBlocks).toBeLessThanOrEqual(3 + 2 * choices.length);
  });

  it("callers of other salts find nothing", async () => {
    const request = { promptTokenIds: textOf(50, 100), params: { ...GREEDY, maxTokens: 4 }, choice: 0 };
    const cached: number[] = [];
    for (const cacheSalt of ["a", "b", "a", "b"]) {
      cached.push((await run(warm, { ...request, cacheSalt })).numCachedTokens);
    }
    expect(cached).toEqual([0, 0, 48, 48]);
  });
});

it.each([true, false])(
  "choices that do not all fit give the texts of each alone; prefix cache: %s",
  async (prefixCache) => {
    // Two can begin, but not go on together.
    const numBlocks = prefixCache ? 7 : 10;
    const opened = await openEngine(gpu, { drafts: true, stepsInFlight: 2, numBlocks, prefixCache });
    const { engine, blocks } = opened;
    const params = { ...WARM, maxTokens: 12 };
    const requests = [0, 1, 2].map((choice) => ({ promptTokenIds: textOf(62, 230), params, choice }));
    /** @param abort ends the first choice after one step, while the others wait for what it computes */
    const together = async (abort?: AbortController) => {
      let [numPreemptions, numWaiting] = [0, 0];
      const stop = engine.onStep((stats) => {
        numPreemptions += stats.numPreemptions;
        numWaiting = Math.max(numWaiting, stats.numWaiting);
        abort?.abort();
      });
      const texts = requests.map(async (request) => {
        const tokenIds: number[] = [];
        const id = `together-${numRequests++}`;
        const signal = request.choice === 0 ? abort?.signal : undefined;
        for await (const output of engine.generate({ ...request, id }, signal)) tokenIds.push(...output.tokenIds);
        return tokenIds;
      });
      const all = { texts: await Promise.all(texts), numPreemptions, numWaiting };
      stop();
      return all;
    };
    const [whole, rest] = [await together(), await together(new AbortController())];
    const alone: (readonly number[])[] = [];
    for (const request of requests) alone.push((await run(opened, request)).tokenIds);
    await engine.close();
    expect(whole.texts).toEqual(alone);
    expect(rest.texts.slice(1)).toEqual(alone.slice(1));
    expect(rest.texts[0]?.length).toBeLessThan(params.maxTokens);
    expect(whole.numPreemptions).toBeGreaterThan(0);
    if (prefixCache) expect([whole.numWaiting, rest.numWaiting]).toEqual([2, 2]);
    expect(blocks.usage).toBe(0);
  },
);
