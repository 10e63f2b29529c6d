import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { openModel } from "../../../engine/model/open.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import { DraftModelProposer } from "../../../engine/speculative/draft-model.ts";
import { pathOf } from "../../../engine/speculative/draft-tree.ts";
import { createGpuContext, type Gpu, type GpuContext, openGpu } from "../../../kernels/index.ts";
import { BlockManager } from "../../../kvcache/block-manager.ts";
import { OnBothSides } from "./device-drafts.ts";
import { NOTHING_COMPUTED } from "./nothing-computed.ts";
import { proposerContract } from "./proposer-contract.ts";

const TOP_K = 3;
const MAX_ROWS = 100;
const NUM_BLOCKS = 36;
const WARM: SamplingParams = { ...GREEDY, temperature: 1, seed: [7, 8] };

let device: Gpu;
let gpu: GpuContext;
/** A test may have four proposers alive: each has a runner, and so a cache, of its own. */
let runners: readonly ModelRunner[];
let numMade = 0;
let blocks: BlockManager;

beforeAll(async () => {
  device = await openGpu("software");
  gpu = createGpuContext(device);
  const model = openModel(resolveModel("sapling-2m-draft"));
  const limits = { maxRows: MAX_ROWS, maxLogits: 12, maxModelLen: 256, numBlocks: NUM_BLOCKS, maxTableWords: 512 };
  runners = await Promise.all([0, 1, 2, 3].map(() => ModelRunner.create(gpu, model, { ...limits, topK: TOP_K })));
  model.weights.close();
});
afterAll(() => {
  gpu.pool.destroyAll();
  device.close();
});

function makeProposer(prefixSecret?: Uint8Array): DraftModelProposer {
  const runner = runners[numMade++ % runners.length];
  if (runner === undefined) throw new Error("no runner");
  blocks = new BlockManager(NUM_BLOCKS, prefixSecret);
  return new DraftModelProposer(runner, blocks);
}

/** Drafts on the host and on the device, and compares. */
function makeOnBothSides(): Promise<OnBothSides> {
  const [host, there] = [makeProposer(Uint8Array.of(1)), makeProposer(Uint8Array.of(1))];
  const sizes = {
    maxLanes: 4,
    treeNodes: 8,
    treeDepth: 3,
    tableWords: 1,
    maxModelLen: 256,
    requestSampling: undefined,
  };
  return OnBothSides.create(gpu, host, there, sizes);
}

proposerContract("draft model", makeOnBothSides, { vocabSize: 4096, maxDepth: 3 });

describe("the draft model's cache", () => {
  const [{ promptTokens, greedyTokens } = { promptTokens: [], greedyTokens: [] }] = referencePrompts();
  const text = [...promptTokens, ...greedyTokens];
  const request = (tokenIds: readonly number[], params = GREEDY) => ({
    ...{ id: "a", tokenIds, choice: 0, params, maxNodes: 8, maxDepth: 4, target: NOTHING_COMPUTED },
  });

  test.each([
    ["greedy", GREEDY],
    ["sampling", WARM],
  ])(
    "%s: rolls back with the target, whatever was accepted: the trees of a cache that never drafted",
    async (_, params) => {
      const proposer = makeProposer();
      proposer.begin("a", text.slice(0, 20));
      for (const numTokens of [20, 21, 23, 28, 29, 33]) {
        const tokenIds = text.slice(0, numTokens);
        const [tree] = await proposer.propose([request(tokenIds, params)]);
        const fresh = makeProposer();
        fresh.begin("a", tokenIds);
        expect([tree]).toEqual(await fresh.propose([request(tokenIds, params)]));
        fresh.close();
      }
      proposer.close();
    },
  );

  test("a prompt longer than a pass is caught up with in several, and the tree is the same", async () => {
    const long = Array.from({ length: 230 }, (_, i) => text[i % text.length] ?? 0);
    const inPieces = makeProposer();
    inPieces.begin("a", long);
    const numRounds = Math.ceil(long.length / MAX_ROWS);
    for (let round = 1; round < numRounds; round++) {
      const [tree] = await inPieces.propose([request(long)]);
      expect(tree?.tokenIds).toHaveLength(1);
    }
    const [tree] = await inPieces.propose([request(long)]);
    expect(tree?.tokenIds.length).toBeGreaterThan(1);
    const steady = makeProposer();
    steady.begin("a", long.slice(0, 90));
    for (let numTokens = 90; numTokens < long.length; numTokens += 35) {
      await steady.propose([request(long.slice(0, numTokens))]);
    }
    expect(await steady.propose([request(long)])).toEqual([tree]);
    for (const proposer of [inPieces, steady]) proposer.close();
  });

  test("keeps what it computed for a text that begins alike: fewer rows, and the same tree", async () => {
    const proposer = makeProposer(Uint8Array.of(1));
    proposer.begin("first", text.slice(0, 70), { cacheSalt: "salt" });
    await proposer.propose([{ ...request(text.slice(0, 70)), id: "first" }]);
    proposer.end("first");
    const known = [...text.slice(0, 60), ...text.slice(5, 15)];
    const startOf = async (id: string, salt: string) => {
      proposer.begin(id, known, { cacheSalt: salt });
      const run = vi.spyOn(proposer.runner, "run");
      const [tree] = await proposer.propose([{ ...request(known), id }]);
      const [batch = []] = run.mock.calls[0] ?? [];
      run.mockRestore();
      return { tree, startPosition: batch[0]?.startPosition };
    };
    const warm = await startOf("a", "salt");
    const cold = await startOf("b", "another salt");
    expect([warm.startPosition, cold.startPosition]).toEqual([48, 0]);
    expect(warm.tree).toEqual(cold.tree);
    expect(warm.tree?.tokenIds.length).toBeGreaterThan(1);
    proposer.close();
    blocks.checkIntegrity();
    expect(blocks.usage).toBe(0);
  });

  test("where blocks run out it gives the root alone, and drafts again once there are some", async () => {
    const proposer = makeProposer();
    const fill = ["fill-0", "fill-1"];
    const long = Array.from({ length: 240 }, (_, i) => text[i % text.length] ?? 0);
    for (const id of fill) {
      proposer.begin(id, long);
      for (let round = 0; round < 3; round++) await proposer.propose([{ ...request(long), id, maxNodes: 1 }]);
    }
    proposer.begin("a", text.slice(0, 100));
    const wanted = request(text.slice(0, 100));
    expect(blocks.numFreeBlocks).toBeLessThan(7);
    expect((await proposer.propose([wanted]))[0]?.tokenIds).toHaveLength(1);
    for (const id of fill) proposer.end(id);
    const [tree] = await proposer.propose([wanted]);
    expect(tree?.tokenIds.length).toBeGreaterThan(1);
    proposer.close();
    blocks.checkIntegrity();
    expect(blocks.usage).toBe(0);
  });

  test("its first path greedily is what the model itself would say", async () => {
    const proposer = makeProposer();
    const known = text.slice(0, 40);
    proposer.begin("a", known);
    const [chain] = await proposer.propose([{ ...request(known), maxNodes: 64, maxDepth: 4 }]);
    const said: number[] = [];
    for (let depth = 0; depth < 4; depth++) {
      const one = makeProposer();
      const tokenIds = [...known, ...said];
      one.begin("a", tokenIds);
      const [tree] = await one.propose([{ ...request(tokenIds), maxNodes: 2, maxDepth: 1 }]);
      said.push(tree?.tokenIds[1] ?? -1);
      one.close();
    }
    if (chain === undefined) throw new Error("no tree");
    const paths = chain.tokenIds.map((_, node) => pathOf(chain, node).map((at) => chain.tokenIds[at]));
    expect(paths).toContainEqual(said);
    proposer.close();
  });
});
