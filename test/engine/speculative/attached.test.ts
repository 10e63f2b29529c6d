import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { referencePrompts } from "../../../bench/prompts.ts";
import { syntheticWeights } from "../../../bench/synthetic.ts";
import { WithTarget } from "../../../bench/with-target.ts";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { type DrafterFiles, openDrafter } from "../../../engine/model/drafter-files.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { LlamaConfig } from "../../../engine/model/types.ts";
import { processorOf } from "../../../engine/runner/logits-processor.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { uploadLlama } from "../../../engine/runner/weights.ts";
import { GREEDY, type SamplingParams } from "../../../engine/sampling-params.ts";
import { type AttachableTarget, attachDrafter } from "../../../engine/speculative/attach.ts";
import { draftRunnerOptions } from "../../../engine/speculative/draft-limits.ts";
import { DraftModelProposer } from "../../../engine/speculative/draft-model.ts";
import { DRAFT_WIDTHS } from "../../../engine/speculative/draft-widths.ts";
import type { Proposer } from "../../../engine/speculative/proposer.ts";
import { SuffixProposer } from "../../../engine/speculative/suffix.ts";
import { featuresForAll } from "../../../engine/speculative/target-features.ts";
import { regularShape } from "../../../engine/speculative/tree-shape.ts";
import { UnionProposer } from "../../../engine/speculative/union.ts";
import { createGpuContext, type Gpu, type GpuContext, openGpu } from "../../../kernels/index.ts";
import { BlockManager } from "../../../kvcache/block-manager.ts";
import { numBlocksFor } from "../../../kvcache/ids.ts";
import { OnBothSides } from "./device-drafts.ts";
import { randomEagle3Folder } from "./eagle3/random-drafter.ts";
import { proposerContract } from "./proposer-contract.ts";

const SIZES = { maxNumSeqs: 4, treeNodes: 8, treeDepth: 3, treeTopK: 3, ...DRAFT_WIDTHS };
const MAX_MODEL_LEN = 256;
const OPTIONS = { maxRows: 100, maxLogits: 1, maxModelLen: MAX_MODEL_LEN, numBlocks: 36, maxTableWords: 64, topK: 1 };
const WARM: SamplingParams = { ...GREEDY, temperature: 1, seed: [7, 8] };
const PENALISED: SamplingParams = {
  ...{ ...GREEDY, repetitionPenalty: 1.4, presencePenalty: 0.5, frequencyPenalty: 0.3 },
  logitBias: [
    [14, -100],
    [23, 3],
  ],
};
const ATTACHED = ["eagle", "glide", "medusa", "eagle3"] as const;
/** Several that propose into one tree, with one that reads the target among them. */
const UNIONS = ["eagle,suffix", "draft,medusa"] as const;
const UNIONS_ON_DEVICE = ["draft,medusa", "draft,eagle,glide"] as const;
type Name = (typeof ATTACHED)[number] | (typeof UNIONS)[number] | (typeof UNIONS_ON_DEVICE)[number];

/** EAGLE-3 reads three of seven layers at least; its drafter here has random weights, and so may its target. */
const SMALL: LlamaConfig = {
  ...{ vocabSize: 256, hiddenSize: 64, numLayers: 7, numHeads: 2, numKvHeads: 1, headDim: 32, intermediateSize: 64 },
  ...{ maxPositionEmbeddings: MAX_MODEL_LEN, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: true },
};
const EAGLE3_TOKENS = Array.from({ length: 24 }, (_, i) => 5 + 9 * i);

/** A target with what the drafters need of it, and drafters that no test uses. */
interface Place {
  readonly target: AttachableTarget;
  readonly idle: Proposer[][];
}

let device: Gpu;
let gpu: GpuContext;
let eagle3Folder: string;
const places = new Map<Name, Place>();

beforeAll(async () => {
  device = await openGpu("software");
  gpu = createGpuContext(device);
  const { config, weights: source } = openModel(resolveModel("sapling-14m"));
  // Two layers of it will do: how good the drafts are does not matter here.
  const shallow = { ...config, numLayers: 2 };
  const weights = uploadLlama(gpu.pool, gpu.family, shallow, source, MAX_MODEL_LEN);
  source.close();
  const small = { config: SMALL, weights: syntheticWeights(gpu, SMALL, "f32", MAX_MODEL_LEN) };
  eagle3Folder = randomEagle3Folder(SMALL, EAGLE3_TOKENS);
  for (const name of new Set<Name>([...ATTACHED, ...UNIONS, ...UNIONS_ON_DEVICE])) {
    const model = name === "eagle3" ? small : { config: shallow, weights };
    const files = membersOf(name).flatMap((member) => withFiles(member, (one) => [one]) ?? []);
    const features = featuresForAll(files, model.config);
    const runner = await ModelRunner.create(gpu, model, { ...OPTIONS, maxRequests: SIZES.maxNumSeqs, features });
    places.set(name, { target: { gpu, ...model, runner }, idle: [] });
  }
});
afterAll(() => {
  gpu.pool.destroyAll();
  device.close();
  rmSync(eagle3Folder, { recursive: true });
});

/** Goes back to the idle ones when it is closed: uploading a drafter takes longer than most tests. */
class Reused extends WithTarget {
  readonly #proposer: Proposer;
  readonly #back: () => void;

  constructor(proposer: Proposer, runner: ModelRunner, back: () => void) {
    super(device.device, proposer, runner);
    this.#proposer = proposer;
    this.#back = back;
  }

  /** Trees that the device drafted. */
  get numOnDevice(): number {
    return this.#proposer instanceof OnBothSides ? this.#proposer.numOnDevice : 0;
  }

  override close(): void {
    super.close();
    this.#back();
  }
}

function membersOf(name: Name): readonly string[] {
  return name.split(",");
}

function placeOf(name: Name): Place {
  const place = places.get(name);
  if (place === undefined) throw new Error(`no target for ${name}`);
  return place;
}

/** Undefined for members that do not read the target. */
function withFiles<T>(member: string, use: (files: DrafterFiles) => T): T | undefined {
  if (member === "suffix" || member === "draft") return undefined;
  const files = openDrafter(member === "eagle3" ? eagle3Folder : resolveModel(`sapling-14m-${member}`));
  if (!("kind" in files)) throw new Error("a model");
  const result = use(files);
  files.weights.close();
  return result;
}

async function openMember(member: string, target: AttachableTarget): Promise<Proposer> {
  const attached = withFiles(member, (files) => attachDrafter(files, target, SIZES));
  return attached ?? openDraftModel(target);
}

async function openDraftModel(target: AttachableTarget): Promise<Proposer> {
  const model = openModel(resolveModel("sapling-2m-draft"));
  const runner = await ModelRunner.create(gpu, model, draftRunnerOptions(target.runner, SIZES, SIZES.treeTopK));
  model.weights.close();
  return new DraftModelProposer(runner, new BlockManager(OPTIONS.numBlocks));
}

/** Drafts on the host and on the device, and compares. */
async function openOnBothSides(members: readonly string[], target: AttachableTarget): Promise<Proposer> {
  const open = async () => {
    const all = await Promise.all(members.map((member) => openMember(member, target)));
    const [only] = all;
    return only !== undefined && all.length === 1 ? only : new UnionProposer(all);
  };
  const [host, there] = [await open(), await open()];
  if (!there.onDevice) throw new Error(`${members} does not draft on the device`);
  const { treeNodes, treeDepth } = SIZES;
  const sizes = {
    treeNodes,
    treeDepth,
    maxLanes: SIZES.maxNumSeqs,
    tableWords: numBlocksFor(MAX_MODEL_LEN + SIZES.treeNodes),
  };
  const { requestSampling } = target.runner;
  return OnBothSides.create(gpu, host, there, { ...sizes, maxModelLen: MAX_MODEL_LEN, requestSampling });
}

/** What looks texts up remembers them, so that it is made anew each time; with it the host drives them all. */
async function makeProposer(name: Name): Promise<Reused> {
  const { target, idle } = placeOf(name);
  const members = membersOf(name);
  const others = members.filter((member) => member !== "suffix");
  if (others.length === members.length) {
    const ready = idle.pop() ?? [await openOnBothSides(members, target)];
    const [proposer] = ready;
    if (proposer === undefined) throw new Error(`no ${name}`);
    return new Reused(proposer, target.runner, () => idle.push(ready));
  }
  const ready = idle.pop() ?? (await Promise.all(others.map((member) => openMember(member, target))));
  return new Reused(new UnionProposer([...ready, new SuffixProposer()]), target.runner, () => idle.push(ready));
}

for (const name of [...ATTACHED, ...UNIONS]) {
  const { vocabSize } = name === "eagle3" ? SMALL : { vocabSize: 4096 };
  proposerContract(name, () => makeProposer(name), { vocabSize, maxDepth: 3 });
}

/** A text that the kind's target knows the tokens of, and what is asked of a drafter after some of it. */
function textOf(kind: Name): readonly number[] {
  const [{ promptTokens, greedyTokens } = { promptTokens: [], greedyTokens: [] }] = referencePrompts();
  const known = [...promptTokens, ...greedyTokens];
  return kind === "eagle3" ? known.map((token) => token % SMALL.vocabSize) : known;
}

const request = (tokenIds: readonly number[], params = GREEDY) => ({
  ...{ id: "a", tokenIds, choice: 0, params, maxNodes: 8, maxDepth: 3 },
  processor: processorOf(params, { tokenIds, numPromptTokens: 20 }),
  target: { blockTable: [], numComputedTokens: 0 },
});

describe.each([...ATTACHED, ...UNIONS_ON_DEVICE])("%s", (kind) => {
  const text = textOf(kind);

  test.each([
    ["greedy", GREEDY],
    ["sampling", WARM],
    ["penalties and biases", PENALISED],
  ])("%s: whatever was accepted, the trees are those of a drafter that begins there", async (_, params) => {
    const proposer = await makeProposer(kind);
    const { numOnDevice } = proposer;
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
    // The first that needs other kernels is drafted by the host, which compiles them.
    expect(proposer.numOnDevice - numOnDevice).toBeGreaterThanOrEqual(4);
    proposer.close();
  });
});

describe.each(ATTACHED)("%s", (kind) => {
  const text = textOf(kind);

  test("what is banned is not drafted, and what is favoured is; without a processor the raw logits hold", async () => {
    const proposer = await makeProposer(kind);
    const tokenIds = text.slice(0, 20);
    proposer.begin("a", tokenIds);
    const treeOf = async (logitBias: SamplingParams["logitBias"], isTold = true) => {
      const { processor, ...rest } = request(tokenIds, { ...GREEDY, logitBias });
      const [tree] = await proposer.propose([isTold ? { ...rest, processor } : rest]);
      return tree?.tokenIds.slice(1) ?? [];
    };
    const raw = await treeOf([]);
    const [banned = 0] = raw;
    const favoured = EAGLE3_TOKENS.find((token) => !raw.includes(token)) ?? 0;
    const tree = await treeOf([
      [banned, -100],
      [favoured, 100],
    ]);
    expect(tree).toContain(favoured);
    expect(tree).not.toContain(banned);
    expect(await treeOf([[banned, -100]], false)).toEqual(raw);
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
    const { target } = placeOf(kind);
    const alone = await openMember(kind, target);
    alone.begin("a", text.slice(0, 20));
    for (let round = 0; round < 2; round++) {
      expect((await alone.propose([request(text.slice(0, 20))]))[0]?.tokenIds).toEqual([text[19]]);
    }
    const proposer = new WithTarget(device.device, alone, target.runner);
    proposer.begin("b", text.slice(0, 20));
    const fresh = await makeProposer(kind);
    fresh.begin("b", text.slice(0, 20));
    const wanted = [{ ...request(text.slice(0, 20)), id: "b" }];
    expect(await proposer.propose(wanted)).toEqual(await fresh.propose(wanted));
    proposer.close();
    fresh.close();
  });
});

test("EAGLE-3 drafts tokens of its own vocabulary alone", async () => {
  const proposer = await makeProposer("eagle3");
  const known = new Set(EAGLE3_TOKENS);
  const tokenIds = Array.from({ length: 20 }, (_, i) => 11 * i);
  proposer.begin("a", tokenIds);
  const request = { id: "a", tokenIds, choice: 0, maxNodes: 8, maxDepth: 3 };
  for (const params of [GREEDY, WARM]) {
    const [tree] = await proposer.propose([{ ...request, params, target: { blockTable: [], numComputedTokens: 0 } }]);
    const drafted = tree?.tokenIds.slice(1) ?? [];
    expect(drafted).toHaveLength(7);
    expect(drafted.filter((token) => !known.has(token))).toEqual([]);
  }
  proposer.close();
});

test.each(["eagle", "medusa"] as const)("%s finds its features among others that the target keeps", async (kind) => {
  const { target } = placeOf(kind);
  const { config, weights } = target;
  const runner = await ModelRunner.create(gpu, { config, weights }, { ...OPTIONS, features: [1, "final"] });
  const [{ promptTokens } = { promptTokens: [] }] = referencePrompts();
  const treesOf = async (proposer: Proposer) => {
    proposer.begin("a", promptTokens);
    const limits = { choice: 0, maxNodes: 8, maxDepth: 3, target: { blockTable: [], numComputedTokens: 0 } };
    const trees = await proposer.propose([{ ...limits, id: "a", tokenIds: promptTokens, params: GREEDY }]);
    proposer.close();
    return trees;
  };
  const among = new WithTarget(device.device, await openMember(kind, { ...target, runner }), runner);
  const [tree] = await treesOf(among);
  expect(tree?.tokenIds).toHaveLength(8);
  expect([tree]).toEqual(await treesOf(await makeProposer(kind)));
});
