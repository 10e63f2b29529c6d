import { createHash, randomBytes } from "node:crypto";
import {
  buildDigest,
  createGpuContext,
  type Gpu,
  type GpuContext,
  type KernelChoice,
  openGpu,
} from "../kernels/index.ts";
import { BlockManager } from "../kvcache/block-manager.ts";
import { BLOCK_SIZE, numBlocksFor } from "../kvcache/ids.ts";
import { Engine } from "./engine.ts";
import { type CreatedEngine, ENGINE_DEFAULTS, type EngineOptions } from "./engine-options.ts";
import { EngineOptionsError, ModelFileError } from "./errors.ts";
import { checkMemory, memoryCapacity, planKvBlocks } from "./memory-plan.ts";
import { bundledDrafterFor, bundledDraftFor, resolveModel } from "./model/bundled.ts";
import {
  ATTACHED_KINDS,
  type AttachedKind,
  checkSameTokens,
  type DrafterFiles,
  openDrafter,
} from "./model/drafter-files.ts";
import { checkKernelSizes } from "./model/llama.ts";
import { openModel } from "./model/open.ts";
import type { LlamaConfig, OpenedModel, WeightSource } from "./model/types.ts";
import { numLookahead } from "./resident/resident-drafter.ts";
import { ResidentLoop } from "./resident/resident-loop.ts";
import { contextOfChoice } from "./runner/kernel-choice.ts";
import { blockBytes } from "./runner/kv-storage.ts";
import { ModelRunner, type RunnerOptions } from "./runner/model-runner.ts";
import { type LlamaWeights, onDevice } from "./runner/weights.ts";
import { attachDrafter, attachedBlockBytes, FEATURES } from "./speculative/attach.ts";
import { DraftModelProposer } from "./speculative/draft-model.ts";
import type { Proposer } from "./speculative/proposer.ts";
import { NoProposer } from "./speculative/root-only.ts";
import { SuffixProposer } from "./speculative/suffix.ts";

type Options = Omit<EngineOptions, "model">;
type Settings = Options & Required<Omit<Options, "maxModelLen" | "numKvBlocks" | "gpuMemory" | "kernels">>;

const MAX_RESIDENT_NODES = 64;
/** Of all levels of one tree. */
const MAX_RESIDENT_CANDIDATES = 1024;

/**
 * Opens model, drafter and device, uploads, compiles: the engine that is returned is ready to serve.
 * @throws ModelFileError, EngineOptionsError, GpuError (no_adapter, out_of_memory, shader_invalid)
 */
export async function createEngine(options: EngineOptions): Promise<CreatedEngine> {
  const settings: Settings = { ...ENGINE_DEFAULTS, ...options };
  const model = openModel(resolveModel(options.model));
  let draft: OpenedModel | DrafterFiles | undefined;
  let device: Gpu | undefined;
  try {
    const { text } = model;
    if (text === undefined)
      throw new ModelFileError("unsupported", model.path, "has no tokenizer: it cannot be served");
    draft = openDraft(settings, model);
    for (const opened of [model, draft]) if (opened && "config" in opened) checkKernelSizes(opened.config, opened.path);
    device = await openGpu(settings.adapter);
    const client = await assembleEngine(options, device, createGpuContext(device), model, draft);
    const { name, path, generationDefaults } = model;
    return { client, model: { name, path, text, generationDefaults } };
  } catch (error) {
    device?.close();
    throw error;
  } finally {
    model.weights.close();
    draft?.weights.close();
  }
}

/** What an engine runs: a model opened from disk, or one whose weights are on the device already. */
export interface EngineModel extends Pick<OpenedModel, "name" | "config" | "digest"> {
  readonly weights: WeightSource | LlamaWeights;
}

/**
 * Plans, uploads, compiles. The engine owns device, context and everything on them from here on.
 * @throws EngineOptionsError, GpuError
 */
export async function assembleEngine(
  options: Options,
  device: Gpu,
  gpu: GpuContext,
  model: EngineModel,
  draft?: OpenedModel | DrafterFiles,
): Promise<Engine> {
  const settings: Settings = { ...ENGINE_DEFAULTS, ...options };
  const draftConfig = draft && "config" in draft ? draft.config : model.config;
  const maxModelLen = checkSizes(settings, model.config, draftConfig);
  const target = await loadModel(device, gpu, model, maxModelLen, settings.kernels?.target);
  const [attached, draftModel] = draft && "kind" in draft ? [draft, undefined] : [undefined, draft];
  const drafting = draftModel && (await loadModel(device, gpu, draftModel, maxModelLen, settings.kernels?.draft));
  const capacityBytes = memoryCapacity(settings, device.traits.software);
  const caches = [
    [model.name, blockBytes(target.gpu, target.config)] as const,
    ...(drafting && draftModel ? [[draftModel.name, blockBytes(drafting.gpu, drafting.config)] as const] : []),
    ...(attached ? [[attached.kind, attachedBlockBytes(target.gpu, attached, target.config)] as const] : []),
  ];
  const numBlocks = planMemory(settings, capacityBytes, gpu.pool.totalBytes, maxModelLen, caches);
  const limits = runnerLimits(settings, maxModelLen, numBlocks);
  const runner = await ModelRunner.create(target.gpu, target, {
    ...{ ...limits, topK: 1, maxRequests: settings.maxNumSeqs, profile: settings.profile },
    ...(attached ? { features: FEATURES[attached.kind] } : {}),
  });
  const proposer = attached
    ? await attachDrafter(attached, { ...target, runner }, settings)
    : await createProposer(settings, drafting, limits);
  const treeNodes = proposer instanceof NoProposer ? 1 : settings.treeNodes;
  const resident = await createResident({ ...settings, treeNodes }, target.gpu, runner, proposer);
  checkMemory(capacityBytes, gpu.pool.totalBytes);
  const info = {
    modelName: model.name,
    drafter: proposer.name,
    adapter: device.adapterName,
    adapterKind: device.traits.software ? ("software" as const) : ("gpu" as const),
    features: device.features,
    vocabSize: model.config.vocabSize,
    maxModelLen,
    numKvBlocks: numBlocks,
    blockSize: BLOCK_SIZE,
    maxNumSeqs: settings.maxNumSeqs,
    kernels: { target: target.choice, ...(drafting ? { draft: drafting.choice } : {}) },
    fingerprint: fingerprint(model, device, target.gpu),
  };
  return new Engine({
    ...{ info, runner, proposer, blocks: createBlocks(settings, numBlocks) },
    ...{ tokenBudget: settings.tokenBudget, treeDepth: settings.treeDepth, treeNodes },
    ...(resident ? { resident, stepsInFlight: settings.stepsInFlight } : { stepsInFlight: 1 }),
    dispose: () => {
      gpu.pool.destroyAll();
      device.close();
    },
  });
}

/** A model on the device, and the context in which its kernels run. */
interface LoadedModel {
  readonly config: LlamaConfig;
  readonly weights: LlamaWeights;
  readonly gpu: GpuContext;
  readonly choice: KernelChoice;
}

/** Uploads a model, unless it is there already, and chooses its kernels (`contextOfChoice`). */
async function loadModel(
  device: Gpu,
  gpu: GpuContext,
  { config, weights: source }: Pick<EngineModel, "config" | "weights">,
  maxModelLen: number,
  given: KernelChoice | undefined,
): Promise<LoadedModel> {
  const weights = onDevice(gpu, config, source, maxModelLen);
  return { config, weights, ...(await contextOfChoice(device, gpu, { config, weights }, given)) };
}

/** @throws ModelFileError where a drafter is asked for and none of its kind belongs to the target. */
function openDraft({ drafter }: Settings, model: OpenedModel): OpenedModel | DrafterFiles | undefined {
  if (drafter === "suffix" || drafter === "none") return undefined;
  if (drafter.includes("/")) return openDrafterAt(drafter, model);
  if (isAttached(drafter)) {
    const folder = bundledDrafterFor(model.path, drafter);
    if (folder !== undefined) return openDrafter(folder);
    throw new ModelFileError("not_found", model.path, `has no ${drafter} drafter; use --drafter suffix or none`);
  }
  const path = bundledDraftFor(model.path);
  if (path !== undefined) return openModel(path);
  if (drafter === "auto") return undefined;
  throw new ModelFileError("not_found", model.path, "has no draft model; use --drafter suffix or none");
}

/** Who cannot guess the secret cannot aim for a prefix that another's prompt is taken for. */
function createBlocks({ prefixCache }: Settings, numBlocks: number): BlockManager {
  return new BlockManager(numBlocks, prefixCache ? randomBytes(32) : undefined);
}

/** @throws ModelFileError where it is no drafter, or a draft model with other tokens. */
function openDrafterAt(path: string, model: OpenedModel): OpenedModel | DrafterFiles {
  const opened = openDrafter(path);
  try {
    if (!("kind" in opened)) checkSameTokens(model, opened);
  } catch (error) {
    opened.weights.close();
    throw error;
  }
  return opened;
}

function isAttached(drafter: string): drafter is AttachedKind {
  return ATTACHED_KINDS.some((kind) => kind === drafter);
}

async function createProposer(
  settings: Settings,
  draft: LoadedModel | undefined,
  runner: Omit<RunnerOptions, "topK">,
): Promise<Proposer> {
  const { drafter, maxNumSeqs, treeDepth, treeTopK } = settings;
  if (drafter === "none") return new NoProposer();
  if (draft === undefined) return new SuffixProposer();
  // A level has a row for every frontier node of every sequence.
  const maxLogits = maxNumSeqs * treeTopK;
  const maxRows = Math.max(runner.maxRows, maxLogits);
  const longest = numBlocksFor(runner.maxModelLen + numLookahead(treeTopK, treeDepth));
  const maxTableWords = maxNumSeqs * Math.min(longest, runner.numBlocks) + maxLogits * treeDepth;
  const draftRunner = await ModelRunner.create(draft.gpu, draft, {
    ...runner,
    maxRows,
    maxLogits,
    maxTableWords,
    topK: treeTopK,
  });
  return new DraftModelProposer(draftRunner, createBlocks(settings, runner.numBlocks));
}

/**
 * Steady decoding on the device: undefined where it is not wanted, the proposer drafts on the host, or trees are so large
 * that the one thread which builds each of them would be what everything waits for.
 */
async function createResident(
  { stepsInFlight, maxNumSeqs, treeNodes, treeDepth, treeTopK, profile }: Settings,
  gpu: GpuContext,
  runner: ModelRunner,
  proposer: Proposer,
): Promise<ResidentLoop | undefined> {
  if (stepsInFlight === 0) return undefined;
  const options = { maxLanes: maxNumSeqs, treeNodes, treeDepth, stepsInFlight, profile };
  if (proposer instanceof DraftModelProposer) {
    const numCandidates = treeTopK ** 2 * treeDepth;
    const isLarge = treeNodes > MAX_RESIDENT_NODES || numCandidates > MAX_RESIDENT_CANDIDATES;
    return isLarge ? undefined : ResidentLoop.create(gpu, runner, proposer, options);
  }
  return proposer instanceof NoProposer ? ResidentLoop.create(gpu, runner, undefined, options) : undefined;
}

/** @returns tokens that a sequence may hold. @throws EngineOptionsError naming value, limit and way out. */
function checkSizes(settings: Settings, config: LlamaConfig, draft: LlamaConfig): number {
  const { maxNumSeqs, tokenBudget } = settings;
  const longest = Math.min(config.maxPositionEmbeddings, draft.maxPositionEmbeddings);
  const maxModelLen = settings.maxModelLen ?? longest;
  refuseIf(maxModelLen > longest, `max-model-len is ${maxModelLen}, but the model holds at most ${longest} tokens`);
  refuseIf(
    tokenBudget < maxNumSeqs,
    `token-budget is ${tokenBudget}: it must be at least max-num-seqs (${maxNumSeqs}), a row for each stream`,
  );
  return maxModelLen;
}

/** Blocks of every model's KV cache, the weights being on the device. @throws EngineOptionsError where they do not fit */
function planMemory(
  settings: Settings,
  capacityBytes: number | undefined,
  weightBytes: number,
  maxModelLen: number,
  caches: readonly (readonly [name: string, blockBytes: number])[],
): number {
  const { numKvBlocks, maxNumSeqs, treeNodes, gpuMemory } = settings;
  return planKvBlocks(
    { capacityBytes, weightBytes, blockBytes: caches },
    {
      ...(numKvBlocks === undefined ? {} : { numKvBlocks }),
      ...{ maxNumSeqs, maxSlots: maxModelLen + treeNodes, takesAll: gpuMemory !== undefined },
    },
  );
}

/** Sizes of the target's passes. */
function runnerLimits({ maxNumSeqs, tokenBudget, treeNodes }: Settings, maxModelLen: number, numBlocks: number) {
  const longestTable = Math.min(numBlocksFor(maxModelLen + treeNodes), numBlocks);
  const maxLogits = Math.min(tokenBudget, maxNumSeqs * treeNodes);
  const maxTableWords = maxNumSeqs * longestTable + maxLogits * treeNodes;
  return { maxRows: tokenBudget, maxLogits, maxModelLen, numBlocks, maxTableWords };
}

function refuseIf(condition: boolean, message: string): void {
  if (condition) throw new EngineOptionsError(message);
}

/** Equal fingerprints promise equal text: whatever may move a logit's last bit is in it. */
function fingerprint({ digest }: EngineModel, device: Gpu, { family }: GpuContext): string {
  const parts = [digest, buildDigest(), device.adapterName, device.driver, device.features, family, BLOCK_SIZE];
  return `canopy-${createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16)}`;
}
