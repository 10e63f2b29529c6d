import { rmSync } from "node:fs";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { type IdentityPair, MEMORY_CASES, runPairs, SAMPLING_CASES } from "../../bench/identity.ts";
import { frequentTokens, referencePrompts } from "../../bench/prompts.ts";
import type { Engine } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { resolveModel } from "../../engine/model/bundled.ts";
import { ATTACHED_KINDS } from "../../engine/model/drafter-files.ts";
import { openModel } from "../../engine/model/open.ts";
import { DecoderDrafter } from "../../engine/resident/decoder-drafter.ts";
import { MedusaDrafter } from "../../engine/resident/medusa-drafter.ts";
import { GREEDY } from "../../engine/sampling-params.ts";
import { ModelProposer } from "../../engine/speculative/model-proposer.ts";
import { type Generated, generate } from "../support/collect.ts";
import { useEngines } from "../support/engines.ts";
import { ADAPTER } from "../support/gpu.ts";
import { leaveRegroupingToChance, leaveSizesToChance } from "./resident/chance.ts";
import { randomEagle3Folder } from "./speculative/eagle3/random-drafter.ts";

const createEngine = useEngines();
const MAX_TOKENS = 20;
const CHECKED = { model: "sapling-14m", adapter: ADAPTER, checkInvariants: true } as const;
const { config, weights } = openModel(resolveModel("sapling-14m"));
weights.close();
const EAGLE3 = randomEagle3Folder(config, frequentTokens(12)) as `/${string}`;
const DRAFTERS = [...ATTACHED_KINDS, EAGLE3];
const prompts = referencePrompts().map(({ promptTokens }) => promptTokens);

afterEach(() => vi.restoreAllMocks());
afterAll(() => rmSync(EAGLE3, { recursive: true }));

const dynamic = (treeNodes: number) => ({ name: `${treeNodes} nodes`, options: { treeNodes } });

/** Steps that the device drafted from now on, and lanes of them. */
function watchDevice() {
  const spies = [vi.spyOn(DecoderDrafter.prototype, "encode"), vi.spyOn(MedusaDrafter.prototype, "encode")];
  return {
    numLanes: () => spies.flatMap(({ mock }) => mock.calls.map(([, { numLanes }]) => numLanes)),
    clear: () => spies.map((spy) => spy.mockClear()),
  };
}

/** Greedy with a batch of three, and one stream that samples. */
function pairsOf(drafter: IdentityPair["drafter"]): IdentityPair[] {
  const [greedy, warm] = SAMPLING_CASES;
  const [memory] = MEMORY_CASES;
  if (greedy === undefined || warm === undefined || memory === undefined) throw new Error("no such case");
  return [
    { drafter, trees: dynamic(8), memory, batchSize: 3, sampling: greedy, seed: 1 },
    { drafter, trees: dynamic(8), memory, batchSize: 1, sampling: warm, seed: 2 },
  ];
}

test("drafters that read the target's features or cache give plain decoding's tokens, several streams at once, lanes idle, sizes change", async () => {
  leaveRegroupingToChance(1);
  leaveSizesToChance(2);
  const options = { ...CHECKED, maxModelLen: 256, maxNumSeqs: 3 };
  const device = watchDevice();
  const caughtUp = vi.spyOn(ModelProposer.prototype, "propose");
  for await (const result of runPairs(options, DRAFTERS.flatMap(pairsOf), prompts, MAX_TOKENS)) {
    const { pair, numTokens, numDifferent, numAccepted, numRejected } = result;
    expect([pair.drafter, pair.sampling.name, numDifferent]).toEqual([pair.drafter, pair.sampling.name, 0]);
    expect(numTokens).toBeGreaterThan(MAX_TOKENS / 2);
    expect(numAccepted, `${pair.drafter} accepted`).toBeGreaterThan(0);
    expect(numRejected, `${pair.drafter} rejected`).toBeGreaterThan(0);
    expect(Math.max(...device.numLanes()), `${pair.drafter} drafts for all on the device`).toBe(pair.batchSize);
    device.clear();
    // The prompt's step is enough to see the prompt: no second one, and no drafts of the host.
    if (pair.batchSize === 1)
      expect(caughtUp.mock.calls.length, String(pair.drafter)).toBe(pair.drafter === "medusa" ? 0 : 1);
    expect(caughtUp.mock.calls.flatMap(([requests]) => requests.filter(({ maxNodes }) => maxNodes > 1))).toEqual([]);
    caughtUp.mockClear();
  }
});

describe("streams that are preempted, computed in chunks, left by their readers, stopped by a token", () => {
  const common = { ...CHECKED, maxModelLen: 128, maxNumSeqs: 4 };

  /** Two streams at once, then one with a long prompt while one of the first leaves. */
  async function run(options: EngineOptions, stopTokenId: number | undefined) {
    const engine = (await createEngine({ ...common, ...options })).client as Engine;
    let numPreemptions = 0;
    let arrived: () => void = () => {};
    const steadily = new Promise<void>((resolve) => (arrived = resolve));
    let numSteps = 0;
    engine.onStep((stats) => {
      numPreemptions += stats.numPreemptions;
      if (++numSteps === 6) arrived();
    });
    const leave = async () => {
      let numLeft = 9;
      const params = { ...GREEDY, maxTokens: 90 };
      const request = { id: "leaver", choice: 0, promptTokenIds: prompts[3] ?? [], params };
      for await (const { tokenIds } of engine.generate(request)) {
        numLeft -= tokenIds.length;
        if (numLeft <= 0) return;
      }
    };
    const late = async (): Promise<Generated> => {
      await steadily;
      const long = [...(prompts[4] ?? []), ...(prompts[5] ?? [])].slice(0, 60);
      return generate(engine, long, { ...GREEDY, temperature: 1, seed: [5, 6], maxTokens: 16 });
    };
    const stops = stopTokenId === undefined ? [] : [stopTokenId];
    const [first, stopped, sampled] = await Promise.all([
      generate(engine, prompts[0] ?? [], { ...GREEDY, maxTokens: 32 }),
      generate(engine, prompts[1] ?? [], { ...GREEDY, maxTokens: 32, stopTokenIds: stops }),
      late(),
      leave(),
    ]);
    await vi.waitFor(() => expect(engine.load()).toEqual({ numRunning: 0, numWaiting: 0, kvUsage: 0 }), 10_000);
    await engine.close();
    return { texts: [first, stopped, sampled] as const, numPreemptions };
  }

  test("their texts are those of plain decoding", async () => {
    const plain = await run({ ...common, drafter: "none" }, undefined);
    const [{ tokenIds: first }, { tokenIds: whole }, { tokenIds: sampled }] = plain.texts;
    // The latest token that was not there before: the stream is long enough by then to lose its blocks.
    const stop = whole.findLast((token, i) => whole.indexOf(token) === i);
    const device = watchDevice();
    for (const drafter of ATTACHED_KINDS) {
      const sizes = { treeNodes: 6, tokenBudget: 24, numKvBlocks: 7, treeBudget: "fixed" } as const;
      const { texts, numPreemptions } = await run({ ...common, drafter, ...sizes }, stop);
      expect(texts.map(({ tokenIds }) => tokenIds)).toEqual([
        first,
        whole.slice(0, whole.indexOf(stop ?? -1) + 1),
        sampled,
      ]);
      expect(texts.map(({ finishReason }) => finishReason)).toEqual(["length", "stop", "length"]);
      expect(texts.reduce((sum, { numAccepted }) => sum + numAccepted, 0)).toBeGreaterThan(5);
      expect(numPreemptions, drafter).toBeGreaterThan(0);
      expect(device.numLanes().length).toBeGreaterThan(8);
      expect(Math.max(...device.numLanes())).toBeGreaterThan(1);
      device.clear();
    }
  });
});
