import { describe, expect, it, vi } from "vitest";
import type { EngineOutput } from "../../../engine/client.ts";
import type { WeightSource } from "../../../engine/model/types.ts";
import { ModelProposer } from "../../../engine/speculative/model-proposer.ts";
import { createGpuContext, type GpuContext, openGpu } from "../../../kernels/index.ts";
import { type Generated, generate } from "../../support/collect.ts";
import { FAMILIES, useGpu } from "../../support/gpu.ts";
import { cachesOf } from "../../support/kv-shards.ts";
import { type OpenedEngine, openEngine } from "./open-engine.ts";
import { expectIdle, paramsOf, promptOf, usePlainRuns } from "./plain-runs.ts";
import { RestlessPolicy } from "./restless-policy.ts";

const test = useGpu();
const { open, plainOf, expectPlain } = usePlainRuns(test);

describe.each([{ drafts: false }, { drafts: true }])("on the device, drafts: $drafts", ({ drafts }) => {
  it.each([1, 3, 8])("%i at once: the tokens of plain decoding, with steps ahead of the host", async (batchSize) => {
    const parts = await open({ drafts });
    const submit = vi.spyOn(parts.resident ?? expect.fail(), "submit");
    const runs = await Promise.all(Array.from({ length: batchSize }, (_, i) => expectPlain(parts.engine, i)));
    const depths = submit.mock.calls.map(([numAhead]) => numAhead);
    expect(depths.filter((numAhead) => numAhead === 1).length).toBeGreaterThan(3);
    expect(Math.max(...depths)).toBe(1);
    const numAccepted = runs.reduce((sum, run) => sum + run.numAccepted, 0);
    const numDraft = runs.reduce((sum, run) => sum + run.numDraft, 0);
    if (drafts) expect(numAccepted).toBeGreaterThan(5);
    if (drafts) expect(numDraft - numAccepted).toBeGreaterThan(5);
    if (!drafts) expect(numDraft).toBe(0);
    await expectIdle(parts);
  });

  it("arrivals while steps are in flight join the batch", async () => {
    const parts = await open({ drafts });
    const { engine } = parts;
    const late: Promise<Generated>[] = [];
    const stop = engine.onStep(({ numRunning }) => {
      if (late.length < 3 && numRunning === late.length + 1) late.push(expectPlain(engine, late.length + 1));
    });
    await expectPlain(engine, 0);
    stop();
    expect(late).toHaveLength(3);
    await Promise.all(late);
    await expectIdle(parts);
  });

  it("end tokens, also inside accepted runs: nothing that was computed after them comes out", async () => {
    const { engine } = await open({ drafts });
    const { tokenIds } = plainOf(3);
    const ends = [0, 3, 8, 13, 17, tokenIds.length - 1].map((position) => tokenIds[position] ?? 0);
    const runs = await Promise.all(
      ends.map((end) => generate(engine, promptOf(3), { ...paramsOf(3), stopTokenIds: [end] })),
    );
    for (const [i, end] of ends.entries()) {
      expect(runs[i]?.tokenIds).toEqual(tokenIds.slice(0, tokenIds.indexOf(end) + 1));
      expect(runs[i]?.finishReason).toBe("stop");
    }
  });

  it("readers leave while steps are in flight: blocks come back, others keep their text", async () => {
    const parts = await open({ drafts });
    const { engine } = parts;
    const leave = async (i: number, numOutputs: number) => {
      let numLeft = numOutputs;
      const request = { id: `leaver-${i}`, choice: 0, promptTokenIds: promptOf(i), params: paramsOf(i) };
      for await (const { finishReason } of engine.generate(request)) {
        if (finishReason !== undefined || numLeft-- === 0) return;
      }
    };
    await Promise.all([expectPlain(engine, 0), leave(1, 2), leave(2, 5), expectPlain(engine, 3), leave(4, 3)]);
    await expectIdle(parts);
  });

  it("a cache too small for all: who is preempted gets the same tokens", async () => {
    const parts = await open({ drafts, numBlocks: 7 });
    let numPreemptions = 0;
    parts.engine.onStep((stats) => {
      numPreemptions += stats.numPreemptions;
      parts.engine.checkIntegrity();
    });
    await Promise.all([0, 1, 2, 3].map((i) => expectPlain(parts.engine, i)));
    expect(numPreemptions).toBeGreaterThan(0);
    await expectIdle(parts);
  });

  it("a more important sequence takes a place: who gives it up gets the same tokens", async () => {
    const parts = await open({ drafts, maxNumSeqs: 2, prefixCache: true });
    const { engine } = parts;
    const late: Promise<void>[] = [];
    let numPreemptions = 0;
    const stop = engine.onStep((stats) => {
      numPreemptions += stats.numPreemptions;
      if (late.length === 0 && stats.numRunning === 2) late.push(important());
    });
    const important = async () => {
      const request = { id: "important", choice: 0, promptTokenIds: promptOf(2), params: paramsOf(2), priority: -1 };
      const tokenIds: number[] = [];
      for await (const output of engine.generate(request)) tokenIds.push(...output.tokenIds);
      expect(tokenIds).toEqual(plainOf(2).tokenIds);
    };
    await Promise.all([0, 1].map((i) => expectPlain(engine, i)));
    await Promise.all(late);
    stop();
    expect(numPreemptions).toBe(1);
    await expectIdle(parts);
  });

  it("the end of the context: as many tokens as fit, the same ones", async () => {
    const numPrompt = promptOf(0).length;
    const { engine } = await open({ drafts, maxModelLen: numPrompt + 17 });
    const { tokenIds, finishReason } = await generate(engine, promptOf(0), paramsOf(0));
    expect(tokenIds).toEqual(plainOf(0).tokenIds.slice(0, 17));
    expect(finishReason).toBe("length");
  });

  it("logits that are not numbers end that sequence alone, and its K/V is not kept for others", async () => {
    const parts = await open({ drafts, prefixCache: true });
    const { engine, blocks, runner } = parts;
    let numSteps = 0;
    engine.onStep(() => {
      if (++numSteps !== 6) return;
      const [keys = expect.fail()] = cachesOf(runner.kv.layer(0));
      const [block = 0] = blocks.blockTable("broken");
      const blockBytes = 4 * 16 * 64;
      const nan = new Uint32Array(blockBytes / 4).fill(0x7fc00000);
      test.context(FAMILIES[0]).device.queue.writeBuffer(keys.buffer, keys.offset + block * blockBytes, nan);
    });
    const request = {
      id: "broken",
      choice: 0,
      promptTokenIds: promptOf(5),
      params: { ...paramsOf(5), maxTokens: 150 },
    };
    const outputs: EngineOutput[] = [];
    const broken = (async () => {
      for await (const output of engine.generate(request)) outputs.push(output);
    })();
    await Promise.all([broken, expectPlain(engine, 0), expectPlain(engine, 1)]);
    expect(outputs.at(-1)).toMatchObject({ finishReason: "error", error: expect.stringMatching(/not numbers/) });
    const tokenIds = outputs.flatMap((output) => output.tokenIds);
    expect(tokenIds.length).toBeGreaterThan(3);
    expect(tokenIds).toEqual(plainOf(5).tokenIds.slice(0, tokenIds.length));
    await expectPlain(engine, 5);
    await expectIdle(parts);
  });
});

describe("what is not a number", () => {
  it("in a cache that others left: slots that a sequence has not written are never read", async () => {
    const parts = await open({ drafts: true });
    const { device } = test.context(FAMILIES[0]);
    for (const { kv } of [parts.runner, parts.draftRunner ?? expect.fail()]) {
      for (let layer = 0; layer < parts.numLayers; layer++) {
        for (const { buffer, offset, size } of cachesOf(kv.layer(layer))) {
          device.queue.writeBuffer(buffer, offset, new Uint32Array(size / 4).fill(0x7fc00000));
        }
      }
    }
    const runs = await Promise.all([0, 1, 2].map((i) => expectPlain(parts.engine, i)));
    expect(runs.reduce((sum, { numAccepted }) => sum + numAccepted, 0)).toBeGreaterThan(5);
  });

  it("in the weights: every request fails by itself, the engine does not, and nothing is cached", async () => {
    const spoil = (weights: WeightSource): WeightSource => ({
      names: () => weights.names(),
      has: (name) => weights.has(name),
      info: (name) => weights.info(name),
      readF32: (name) =>
        name === "model.norm.weight" ? weights.readF32(name).fill(Number.NaN) : weights.readF32(name),
      readBlocks: (name) => weights.readBlocks(name),
      close: () => weights.close(),
    });
    const parts = await open({ drafts: false, prefixCache: true, spoil });
    for (const id of ["first", "second"]) {
      const outputs: EngineOutput[] = [];
      const request = { id, choice: 0, promptTokenIds: promptOf(0), params: paramsOf(0) };
      for await (const output of parts.engine.generate(request)) outputs.push(output);
      expect(outputs).toEqual([
        {
          tokenIds: [],
          numAccepted: 0,
          numDraft: 0,
          finishReason: "error",
          error: expect.stringMatching(/not numbers/),
        },
      ]);
      expect(parts.blocks.admit("probe", parts.blocks.hashChain(promptOf(0)), 24, 0)).toBe(true);
      expect(parts.blocks.numComputedTokens("probe")).toBe(0);
      parts.blocks.free("probe");
    }
    await expectIdle(parts);
  });
});

it("prompts that the cache has join: the drafter catches up in one plain step each, and no one waits for drafts of the host", async () => {
  const propose = vi.spyOn(ModelProposer.prototype, "propose");
  const parts = await open({ drafts: true, prefixCache: true });
  const joined: Promise<Generated>[] = [];
  let numHits = 0;
  // The second joins once the first is known, the third in the step after.
  parts.engine.onStep(({ numEmittedTokens, numPrefixHitTokens }) => {
    numHits += numPrefixHitTokens;
    if (numEmittedTokens > 0 && joined.length < 2) joined.push(expectPlain(parts.engine, 0));
  });
  await expectPlain(parts.engine, 0);
  await Promise.all(joined);
  expect(numHits).toBe(2 * (promptOf(0).length - 1));
  const requests = propose.mock.calls.map(([step]) => step);
  // The first one's prompt, and those of the others beside it.
  expect(requests.map((step) => step.length)).toEqual([1, 2, 3]);
  expect(requests.flat().filter(({ maxNodes }) => maxNodes > 1)).toEqual([]);
  await expectIdle(parts);
});

describe("a policy that changes its mind at any step", () => {
  it.each([1, 4])("%i at once: the tokens of plain decoding, through every kind of step", async (batchSize) => {
    const policy = new RestlessPolicy();
    const parts = await open({ drafts: true, policy });
    const rounds = batchSize === 1 ? [0, 1, 2, 3] : [0, 1, 2];
    for (const round of rounds) {
      await Promise.all(Array.from({ length: batchSize }, (_, i) => expectPlain(parts.engine, round + i)));
    }
    // The drafter catches up in plain steps.
    expect([...policy.seen].sort()).toEqual([
      "device, another size than in the step before",
      "device, drafting",
      "device, plain",
      "device, sharing rows",
      "host, plain",
    ]);
    await expectIdle(parts);
  });
});

describe("a broken invariant", () => {
  const takeBlock = ({ blocks }: OpenedEngine) => blocks.ensure("no one", 1);
  const takeBuffer = ({ pool }: OpenedEngine) => pool.storage(48, "leaked");

  /** Does so to the engine in its sixth step. */
  async function disturb(checkInvariants: boolean, befall: (parts: OpenedEngine) => void) {
    const parts = await open({ drafts: false, checkInvariants });
    const { engine } = parts;
    let numSteps = 0;
    engine.onStep(() => {
      if (++numSteps === 6) befall(parts);
    });
    const outputs: EngineOutput[] = [];
    const request = { id: "disturbed", choice: 0, promptTokenIds: promptOf(0), params: paramsOf(0) };
    for await (const output of engine.generate(request)) outputs.push(output);
    return { engine, outputs, tokenIds: outputs.flatMap(({ tokenIds }) => tokenIds) };
  }

  it.each([
    ["a block is held by no one", takeBlock, /: 2 block tables for 1 running and 0 ended sequences$/],
    ["a buffer was made", takeBuffer, /: \d+ buffers of \d+ bytes on the device, at the start \d+ of \d+$/],
  ])("%s: the engine ends before a token of that step is out, and names rule and numbers", async (_, befall, rule) => {
    const { engine, outputs, tokenIds } = await disturb(true, befall);
    const error = expect.stringMatching(rule);
    expect(outputs.at(-1)).toMatchObject({ finishReason: "error", error });
    expect(tokenIds).toEqual(plainOf(0).tokenIds.slice(0, 6));
    expect(() => engine.load()).toThrow(rule);
  });

  it("is not looked for where that was not asked for", async () => {
    const { tokenIds } = await disturb(false, takeBlock);
    expect(tokenIds).toEqual(plainOf(0).tokenIds);
  });
});

describe("a device that fails with steps in flight", () => {
  /** How a device of its own comes to grief. */
  const failures: readonly (readonly [string, (gpu: GpuContext) => void])[] = [
    ["is lost", ({ device }) => device.destroy()],
    [
      "reports an error of no one's",
      ({ device }) => device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE }),
    ],
  ];

  it.each(failures)("%s: every stream ends with an error, after tokens of plain decoding", async (_, fail) => {
    const device = await openGpu("software");
    const gpu = createGpuContext(device, FAMILIES[0]);
    const { engine } = await openEngine(gpu, { drafts: false, stepsInFlight: 2 });
    let numSteps = 0;
    engine.onStep(() => {
      if (++numSteps === 8) fail(gpu);
    });
    const collect = async (i: number) => {
      const outputs: EngineOutput[] = [];
      const request = { id: `${i}`, choice: 0, promptTokenIds: promptOf(i), params: paramsOf(i) };
      for await (const output of engine.generate(request)) outputs.push(output);
      return outputs;
    };
    for (const [i, outputs] of (await Promise.all([collect(0), collect(1)])).entries()) {
      expect(outputs.at(-1)?.finishReason).toBe("error");
      const tokenIds = outputs.flatMap((output) => output.tokenIds);
      expect(tokenIds.length).toBeGreaterThan(3);
      expect(tokenIds.length).toBeLessThan(plainOf(i).tokenIds.length);
      expect(tokenIds).toEqual(plainOf(i).tokenIds.slice(0, tokenIds.length));
    }
    await engine.close();
    device.close();
  });
});
