import { createHash, randomBytes } from "node:crypto";
import {
  type AdapterChoice,
  buildDigest,
  createGpuContext,
  type Gpu,
  type GpuContext,
  type KernelChoice,
  kvTypeOf,
  openGpu,
  StepGuard,
} from "../kernels/index.ts";
import { BlockManager } from "../kvcache/block-manager.ts";
import { BLOCK_SIZE, numBlocksFor } from "../kvcache/ids.ts";
import type { EngineInfo } from "./client.ts";
import { createProposer } from "./create-proposer.ts";
import { createPolicy, createResidents } from "./decoding-parts.ts";
import { DeviceLedger } from "./device-ledger.ts";
import { tryDrafters } from "./drafter-choice/try-drafters.ts";
import { Engine } from "./engine.ts";
import { type CreatedEngine, ENGINE_DEFAULTS, type EngineOptions, type Settings } from "./engine-options.ts";
import { EngineOptionsError, ModelFileError } from "./errors.ts";
import { checkMemory, type MemoryLedger, memoryCapacity, planKvBlocks } from "./memory-plan.ts";
import { resolveModel } from "./model/bundled.ts";
import { checkKernelSizes } from "./model/llama.ts";
import { openModel } from "./model/open.ts";
import type { LlamaConfig, OpenedModel, WeightSource } from "./model/types.ts";
import { closeDrafters, configsOf, type OpenedDrafter, openDrafters } from "./open-drafters.ts";
import { contextOfChoice } from "./runner/kernel-choice.ts";
import { blockBytes, boundBlockBytes } from "./runner/kv-storage.ts";
import { ModelRunner } from "./runner/model-runner.ts";
import { type LlamaWeights, onDevice } from "./runner/weights.ts";
import { attachedBlockBytes } from "./speculative/attach.ts";
import { deepest } from "./speculative/draft-limits.ts";
import { NoProposer } from "./speculative/root-only.ts";
import { featureBlockBytes, featuresForAll } from "./speculative/target-features.ts";
import { regularShape, shapeDepth, shapeTopK } from "./speculative/tree-shape.ts";

type Options = Omit<EngineOptions, "model">;

/** A device, and the context in which one engine runs on it: both are the engine's from then on. */
export interface OpenedDevice {
  readonly device: Gpu;
  readonly context: GpuContext;
}

/**
 * Opens model, drafter and device, uploads, compiles: the engine that is returned is ready to serve.
 * @param openDevice where the device is not to be the engine's alone
 * @throws ModelFileError, EngineOptionsError, GpuError (no_adapter, out_of_memory, shader_invalid)
 */
export async function createEngine(
  options: EngineOptions,
  openDevice: (adapter: AdapterChoice) => Promise<OpenedDevice> = openOwnDevice,
): Promise<CreatedEngine> {
  const settings = settingsOf(options);
  const model = openModel(resolveModel(options.model));
  let drafters: readonly OpenedDrafter[] = [];
  let opened: OpenedDevice | undefined;
  try {
    const { text } = model;
    if (text === undefined)
      throw new ModelFileError("unsupported", model.path, "has no tokenizer: it cannot be served");
    checkKernelSizes(model.config, model.path);
    drafters = openDrafters(settings.drafter, model);
    opened = await openDevice(settings.adapter);
    const { device, context } = opened;
    const tried = await tryDrafters(settings, device, context, { ...model, text }, (trial, gpu, its, weights, some) =>
      assembleEngine(trial, gpu, its, { ...model, weights }, some),
    );
    const [best] = tried?.figures ?? [];
    if (best !== undefined) {
      closeDrafters(drafters);
      drafters = openDrafters(best.drafter, model);
    }
    const target = { ...model, weights: tried?.weights ?? model.weights };
    // What went wrong in a trial is not to be held against the engine.
    const own = tried ? { ...context, guard: new StepGuard(device.device) } : context;
    const client = await assembleEngine(options, device, own, target, drafters, tried?.figures);
    const { name, path, generationDefaults } = model;
    return { client, model: { name, path, text, generationDefaults } };
  } catch (error) {
    opened?.device.close();
    throw error;
  } finally {
    model.weights.close();
    closeDrafters(drafters);
  }
}

async function openOwnDevice(adapter: AdapterChoice): Promise<OpenedDevice> {
  const device = await openGpu(adapter);
  return { device, context: createGpuContext(device) };
}

/** What an engine runs: a model opened from disk, or one whose weights are on the device already. */
export interface EngineModel extends Pick<OpenedModel, "name" | "config" | "digest"> {
  readonly weights: WeightSource | LlamaWeights;
}

/**
 * Plans, uploads, compiles. The engine owns device, context and everything on them from here on.
 * @param drafters in place of the options' choice
 * @param drafterFigures of the comparison that chose them, if there was one
 * @throws ModelFileError where a drafter does not fit the model, EngineOptionsError, GpuError
 */
export async function assembleEngine(
  options: Options,
  device: Gpu,
  context: GpuContext,
  model: EngineModel,
  drafters: readonly OpenedDrafter[] = [],
  drafterFigures: EngineInfo["drafterFigures"] = [],
): Promise<Engine> {
  const settings = settingsOf(options);
  const gpu = withKvType(context, settings.kvDtype);
  const configs = [model.config, ...configsOf(drafters)];
  const maxModelLen = checkSizes(settings, configs);
  checkPositions(maxModelLen, configs, gpu.pool.maxBytes);
  const target = await loadModel(device, gpu, model, maxModelLen, settings.kernels?.target);
  const draftModel = drafters.find((drafter) => drafter.kind === "draft");
  const drafting = draftModel && (await loadModel(device, gpu, draftModel, maxModelLen, settings.kernels?.draft));
  const capacityBytes = memoryCapacity(settings, device.traits.software);
  const attached = drafters.filter((drafter) => drafter.kind !== "draft" && drafter.kind !== "suffix");
  const features = featuresForAll(attached, target.config);
  const featureBytes = featureBlockBytes(target.gpu, features.length, target.config);
  const targetBytes = blockBytes(target.gpu, target.config) + featureBytes;
  const caches = [
    [model.name, targetBytes] as const,
    ...(drafting && draftModel ? [[draftModel.name, blockBytes(drafting.gpu, drafting.config)] as const] : []),
    ...attached.map((files) => [files.kind, attachedBlockBytes(target.gpu, files)] as const),
  ];
  const bound = [target.config, ...configsOf(drafters)].map(
    (config) => ["keys of one head of a layer", boundBlockBytes(target.gpu, config)] as const,
  );
  const numBlocks = planMemory(settings, maxModelLen, {
    ...{ capacityBytes, weightBytes: gpu.pool.totalBytes, blockBytes: caches },
    ...{ maxBoundBytes: gpu.pool.maxBytes, boundBlockBytes: bound },
  });
  const runner = await ModelRunner.create(target.gpu, target, {
    ...{ ...runnerLimits(settings, maxModelLen, numBlocks), topK: 1, features },
    ...{ maxRequests: settings.maxNumSeqs, profile: settings.profile },
  });
  const draftParts = drafting && { ...drafting, blocks: createBlocks(settings, numBlocks) };
  const proposer = await createProposer(drafters, { ...target, runner }, draftParts, settings);
  const treeNodes = proposer instanceof NoProposer ? 1 : settings.treeNodes;
  const residents = await createResidents({ ...settings, treeNodes }, target.gpu, runner, proposer);
  const policy = await createPolicy({ ...settings, treeNodes }, target.gpu, runner, residents);
  checkMemory(capacityBytes, gpu.pool.totalBytes);
  // What could not be allocated is told late: no request is to find it out.
  const settled = () => gpu.guard.run(() => device.device.queue.onSubmittedWorkDone());
  await settled();
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
    treeDepth: treeNodes > 1 ? settings.treeDepth : 0,
    kernels: { target: target.choice, ...(drafting ? { draft: drafting.choice } : {}) },
    ...(drafterFigures.length > 0 ? { drafterFigures } : {}),
    fingerprint: fingerprint(model, device, target.gpu),
  };
  return new Engine({
    ...{ info, runner, proposer, blocks: createBlocks(settings, numBlocks) },
    ...{ tokenBudget: settings.tokenBudget, treeNodes, policy, ...residents },
    stepsInFlight: Math.max(1, settings.stepsInFlight),
    checkInvariants: settings.checkInvariants,
    ledger: new DeviceLedger(gpu.pool),
    settled,
    dispose: () => {
      gpu.pool.destroyAll();
      device.close();
    },
  });
}

/** A tree whose shape is given brings its own sizes. */
function settingsOf(options: Options): Settings {
  const settings = { ...ENGINE_DEFAULTS, ...options };
  if (settings.tree === undefined || settings.tree === "sequoia") return settings;
  const shape = regularShape(settings.tree);
  return { ...settings, treeNodes: shape.parents.length, treeDepth: shapeDepth(shape), treeTopK: shapeTopK(shape) };
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

/** Who cannot guess the secret cannot aim for a prefix that another's prompt is taken for. */
function createBlocks({ prefixCache }: Settings, numBlocks: number): BlockManager {
  return new BlockManager(numBlocks, prefixCache ? randomBytes(32) : undefined);
}

/** @returns tokens that a sequence may hold. @throws EngineOptionsError naming value, limit and way out. */
function checkSizes(settings: Settings, configs: readonly LlamaConfig[]): number {
  const { maxNumSeqs, tokenBudget } = settings;
  const longest = Math.min(...configs.map(({ maxPositionEmbeddings }) => maxPositionEmbeddings));
  const maxModelLen = settings.maxModelLen ?? longest;
  refuseIf(maxModelLen > longest, `max-model-len is ${maxModelLen}, but the model holds at most ${longest} tokens`);
  refuseIf(
    tokenBudget < maxNumSeqs,
    `token-budget is ${tokenBudget}: it must be at least max-num-seqs (${maxNumSeqs}), a row for each stream`,
  );
  return maxModelLen;
}

/** @throws EngineOptionsError where a model's table of positions (`ropeTable`) is larger than a buffer may be */
function checkPositions(maxModelLen: number, configs: readonly LlamaConfig[], maxBytes: number): void {
  const positionBytes = 4 * Math.max(...configs.map(({ headDim }) => headDim));
  refuseIf(
    maxModelLen * positionBytes > maxBytes,
    `max-model-len is ${maxModelLen}, but this adapter's buffers hold ${Math.floor(maxBytes / positionBytes)} positions at most; set it`,
  );
}

/** Blocks of every model's KV cache, the weights being on the device. @throws EngineOptionsError where they do not fit */
function planMemory(settings: Settings, maxModelLen: number, ledger: MemoryLedger): number {
  const { numKvBlocks, maxNumSeqs, treeNodes, gpuMemory } = settings;
  return planKvBlocks(ledger, {
    ...(numKvBlocks === undefined ? {} : { numKvBlocks }),
    ...{ maxNumSeqs, maxSlots: maxModelLen + treeNodes, takesAll: gpuMemory !== undefined },
  });
}

/** Sizes of the target's passes. */
function runnerLimits(settings: Settings, maxModelLen: number, numBlocks: number) {
  const { maxNumSeqs, tokenBudget, treeNodes, treeDepth } = settings;
  const longestTable = Math.min(numBlocksFor(maxModelLen + treeNodes), numBlocks);
  const maxLogits = Math.min(tokenBudget, maxNumSeqs * treeNodes);
  const maxTableWords = maxNumSeqs * longestTable + maxLogits * treeNodes;
  const maxMoves = Math.max(tokenBudget, maxNumSeqs * deepest({ treeNodes, treeDepth }));
  return { maxRows: tokenBudget, maxLogits, maxModelLen, numBlocks, maxTableWords, maxMoves };
}

/** @throws EngineOptionsError where the device has no such type */
function withKvType(gpu: GpuContext, type: Settings["kvDtype"]): GpuContext {
  if (type === "auto" || type === gpu.family.storage) return gpu;
  refuseIf(
    type === "f16" && gpu.family.storage !== "f16",
    "kv-dtype is f16, which this adapter cannot store (no shader-f16); use auto, f32 or q8",
  );
  return { ...gpu, family: { ...gpu.family, kv: type } };
}

function refuseIf(condition: boolean, message: string): void {
  if (condition) throw new EngineOptionsError(message);
}

/** Equal fingerprints promise equal text: whatever may move a logit's last bit is in it. */
function fingerprint({ digest }: EngineModel, device: Gpu, { family }: GpuContext): string {
  const parts = [
    digest,
    buildDigest(),
    device.adapterName,
    device.driver,
    device.features,
    family,
    kvTypeOf(family),
    BLOCK_SIZE,
  ];
  return `canopy-${createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16)}`;
}
