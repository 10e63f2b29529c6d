import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import { WithTarget } from "../../../bench/with-target.ts";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { ATTACHED_KINDS, type AttachedKind, openDrafter } from "../../../engine/model/drafter-files.ts";
import { openModel } from "../../../engine/model/open.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { uploadLlama } from "../../../engine/runner/weights.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import { type AttachableTarget, attachDrafter, FEATURES } from "../../../engine/speculative/attach.ts";
import { DRAFT_WIDTHS } from "../../../engine/speculative/draft-widths.ts";
import type { Proposer } from "../../../engine/speculative/proposer.ts";
import { regularShape } from "../../../engine/speculative/tree-shape.ts";
import { createGpuContext, type Gpu, type GpuContext, openGpu } from "../../../kernels/index.ts";
import { proposerContract } from "./proposer-contract.ts";

const SIZES = { maxNumSeqs: 4, treeNodes: 8, treeDepth: 3, treeTopK: 3, ...DRAFT_WIDTHS };
const MAX_MODEL_LEN = 256;
const WARM: SamplingParams = { ...GREEDY, temperature: 1, seed: [7, 8] };

let device: Gpu;
let gpu: GpuContext;
const idle: Readonly<Record<AttachedKind, Proposer[]>> = { eagle: [], glide: [], medusa: [] };
const targets = new Map<AttachedKind, AttachableTarget>();

beforeAll(async () => {
  device = await openGpu("software");
  gpu = createGpuContext(device);
  const { config, weights: source } = openModel(resolveModel("sapling-14m"));
  const weights = uploadLlama(gpu.pool, gpu.family, config, source, MAX_MODEL_LEN);
  source.close();
  const options = { maxRows: 100, maxLogits: 1, maxModelLen: MAX_MODEL_LEN, numBlocks: 36, maxTableWords: 64, topK: 1 };
  for (const kind of ATTACHED_KINDS) {
    const runner = await ModelRunner.create(gpu, { config, weights }, { ...options, features: FEATURES[kind] });
    targets.set(kind, { gpu, config, weights, runner });
  }
});
afterAll(() => {
  gpu.pool.destroyAll();
  device.close();
});

/** Goes back to the idle ones when it is closed: uploading a drafter takes longer than most tests. */
class Reused extends WithTarget {
  readonly #back: () => void;

  constructor(proposer: Proposer, runner: ModelRunner, back: () => void) {
    super(device.device, proposer, runner);
    this.#back = back;
  }

  override close(): void {
    super.close();
    this.#back();
  }
}

function targetOf(kind: AttachedKind): AttachableTarget {
  const target = targets.get(kind);
  if (target === undefined) throw new Error(`no target for ${kind}`);
  return target;
}

async function attach(kind: AttachedKind): Promise<Proposer> {
  const files = openDrafter(resolveModel(`sapling-14m-${kind}`));
  if (!("kind" in files)) throw new Error("a model");
  const proposer = await attachDrafter(files, targetOf(kind), SIZES);
  files.weights.close();
  return proposer;
}

async function makeProposer(kind: AttachedKind): Promise<Proposer> {
  const ready = idle[kind];
  const proposer = ready.pop() ?? (await attach(kind));
  return new Reused(proposer, targetOf(kind).runner, () => ready.push(proposer));
}

for (const kind of ATTACHED_KINDS) proposerContract(kind, () => makeProposer(kind), { vocabSize: 4096, maxDepth: 3 });

describe.each(ATTACHED_KINDS)("%s", (kind) => {
  const [{ promptTokens, greedyTokens } = { promptTokens: [], greedyTokens: [] }] = referencePrompts();
  const text = [...promptTokens, ...greedyTokens];
  const request = (tokenIds: readonly number[], params = GREEDY) => ({
    ...{ id: "a", tokenIds, choice: 0, params, maxNodes: 8, maxDepth: 3 },
    target: { blockTable: [], numComputedTokens: 0 },
  });

  test.each([
    ["greedy", GREEDY],
    ["sampling", WARM],
  ])("%s: whatever was accepted, the trees are those of a drafter that begins there", async (_, params) => {
    const proposer = await makeProposer(kind);
    proposer.begin("a", text.slice(0, 20));
    for (const numTokens of [20, 21, 23, 27, 28]) {
      const tokenIds = text.slice(0, numTokens);
      const [tree] = await proposer.propose([request(tokenIds, params)]);
      const fresh = await makeProposer(kind);
      fresh.begin("a", tokenIds);
      expect([tree]).toEqual(await fresh.propose([request(tokenIds, params)]));
      expect(tree?.tokenIds.length).toBeGreaterThan(1);
      fresh.close();
    }
    proposer.close();
  });

  test("a tree of the shape that is asked for, in place of the drafter's own", async () => {
    const shape = regularShape([2, 2, 1]);
    const proposer = await makeProposer(kind);
    const tokenIds = text.slice(0, 20);
    proposer.begin("a", tokenIds);
    const [tree] = await proposer.propose([{ ...request(tokenIds), maxNodes: shape.parents.length, shape }]);
    expect(tree?.parents).toEqual(shape.parents);
    proposer.close();
  });

  test("while the target computes the prompt nothing is drafted, and the first draft is the usual one", async () => {
    const alone = await attach(kind);
    alone.begin("a", text.slice(0, 20));
    for (let round = 0; round < 2; round++) {
      expect((await alone.propose([request(text.slice(0, 20))]))[0]?.tokenIds).toEqual([text[19]]);
    }
    const proposer = new WithTarget(device.device, alone, targetOf(kind).runner);
    proposer.begin("b", text.slice(0, 20));
    const fresh = await makeProposer(kind);
    fresh.begin("b", text.slice(0, 20));
    const wanted = [{ ...request(text.slice(0, 20)), id: "b" }];
    expect(await proposer.propose(wanted)).toEqual(await fresh.propose(wanted));
    proposer.close();
    fresh.close();
  });
});
