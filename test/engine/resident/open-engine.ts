import type { EngineInfo } from "../../../engine/client.ts";
import { DeviceLedger } from "../../../engine/device-ledger.ts";
import { Engine } from "../../../engine/engine.ts";
import { resolveModel } from "../../../engine/model/bundled.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { OpenedModel, WeightSource } from "../../../engine/model/types.ts";
import { ResidentLoop } from "../../../engine/resident/resident-loop.ts";
import { ModelRunner } from "../../../engine/runner/model-runner.ts";
import { type LlamaWeights, uploadLlama } from "../../../engine/runner/weights.ts";
import { FixedTrees, type TreePolicy } from "../../../engine/speculative/budget/tree-policy.ts";
import { DraftModelProposer } from "../../../engine/speculative/draft-model.ts";
import type { Proposer } from "../../../engine/speculative/proposer.ts";
import { NoProposer } from "../../../engine/speculative/root-only.ts";
import { BufferPool, type GpuContext } from "../../../kernels/index.ts";
import { BlockManager } from "../../../kvcache/block-manager.ts";

export interface OpenOptions {
  readonly drafts: boolean;
  /** 0: the host's own loop. */
  readonly stepsInFlight: number;
  readonly numBlocks?: number;
  readonly maxModelLen?: number;
  readonly maxNumSeqs?: number;
  /** By default trees of full size. */
  readonly policy?: TreePolicy;
  readonly prefixCache?: boolean;
  readonly checkInvariants?: boolean;
  /** In place of the target's weights. */
  readonly spoil?: (weights: WeightSource) => WeightSource;
}

/** An engine whose parts a test can look at and disturb. */
export interface OpenedEngine {
  readonly engine: Engine;
  /** Of all that it has on the device but the weights. */
  readonly pool: BufferPool;
  readonly runner: ModelRunner;
  readonly blocks: BlockManager;
  /** The draft model's. */
  readonly draftBlocks: BlockManager;
  readonly draftRunner: ModelRunner | undefined;
  readonly resident: ResidentLoop | undefined;
  readonly numLayers: number;
}

/** Positions that RoPE's table has. */
const MAX_MODEL_LEN = 256;

/** Weights of the small model, once for each context: to upload them takes longer than many a test. */
const uploaded = new WeakMap<GpuContext, LlamaWeights>();

function weightsOf(context: GpuContext, { config, weights: source }: OpenedModel): LlamaWeights {
  const weights = uploaded.get(context) ?? uploadLlama(context.pool, context.family, config, source, MAX_MODEL_LEN);
  uploaded.set(context, weights);
  return weights;
}

export const TREE_NODES = 6;
export const TREE_DEPTH = 3;
const TOP_K = 2;

/**
 * The small model as target and, with a coarser norm, as its own draft: it is right often, not always. The device is the
 * context's owner's to close.
 */
export async function openEngine(context: GpuContext, options: OpenOptions): Promise<OpenedEngine> {
  const pool = new BufferPool(context.device);
  const gpu = { ...context, pool };
  const {
    drafts,
    stepsInFlight,
    numBlocks = 80,
    maxModelLen = MAX_MODEL_LEN,
    maxNumSeqs = 8,
    prefixCache = false,
  } = options;
  const secret = prefixCache ? Uint8Array.of(1, 2, 3) : undefined;
  const model = openModel(resolveModel("sapling-2m-draft"));
  const limits = { maxRows: 64, maxLogits: 64, maxModelLen, numBlocks, maxTableWords: 2048, topK: 1 };
  const weights = weightsOf(context, model);
  const target = { ...model, weights: options.spoil?.(model.weights) ?? weights };
  const runner = await ModelRunner.create(gpu, target, { ...limits, maxRequests: maxNumSeqs });
  const draft = { weights, config: { ...model.config, rmsNormEps: 0.02 } };
  const draftBlocks = new BlockManager(numBlocks, secret);
  const { requestSampling } = runner;
  const draftRunner = drafts
    ? await ModelRunner.create(gpu, draft, { ...limits, topK: TOP_K, requestSampling })
    : undefined;
  const proposer: Proposer = draftRunner ? new DraftModelProposer(draftRunner, draftBlocks) : new NoProposer();
  const tree = { treeNodes: drafts ? TREE_NODES : 1, treeDepth: TREE_DEPTH };
  const loopOptions = { maxLanes: maxNumSeqs, isShaped: false, stepsInFlight, profile: false };
  const resident =
    stepsInFlight === 0
      ? undefined
      : await ResidentLoop.create(gpu, runner, proposer.onDevice, { ...loopOptions, ...tree });
  const residentPlain = options.policy
    ? await ResidentLoop.create(gpu, runner, undefined, { ...loopOptions, treeNodes: 1, treeDepth: 1 })
    : undefined;
  model.weights.close();
  const blocks = new BlockManager(numBlocks, secret);
  const info: EngineInfo = {
    ...{ modelName: "test", drafter: proposer.name, adapter: "test", features: [] },
    ...{ vocabSize: model.config.vocabSize, maxModelLen, numKvBlocks: numBlocks, blockSize: 16, maxNumSeqs },
    adapterKind: "software",
    treeDepth: drafts ? TREE_DEPTH : 0,
    kernels: { target: { key: "test", rowTiles: gpu.family.rowTiles, ranges: {} } },
    fingerprint: "test",
  };
  const engine = new Engine({
    ...{ info, runner, blocks, proposer, tokenBudget: limits.maxRows, dispose: () => pool.destroyAll() },
    treeNodes: tree.treeNodes,
    policy:
      options.policy ??
      new FixedTrees({ numLookaheadNodes: tree.treeNodes - 1, maxDraftDepth: drafts ? TREE_DEPTH : 0 }),
    ...(residentPlain ? { residentPlain } : {}),
    ...(resident ? { [drafts ? "residentDrafting" : "residentPlain"]: resident } : {}),
    stepsInFlight: Math.max(1, stepsInFlight),
    checkInvariants: options.checkInvariants ?? true,
    ledger: new DeviceLedger(pool),
    settled: () => gpu.guard.run(() => gpu.device.queue.onSubmittedWorkDone()),
  });
  return { engine, pool, runner, blocks, draftBlocks, draftRunner, resident, numLayers: model.config.numLayers };
}
