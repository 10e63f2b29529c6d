import { join } from "node:path";
import type { GpuContext } from "../../kernels/index.ts";
import { BlockManager } from "../../kvcache/block-manager.ts";
import { numBlocksFor } from "../../kvcache/ids.ts";
import { ModelFileError } from "../errors.ts";
import type { DecoderFiles, DrafterFiles } from "../model/drafter-files.ts";
import type { Eagle3Files } from "../model/eagle3-files.ts";
import { SUCCESSOR_FILE } from "../model/successor-file.ts";
import type { LlamaConfig } from "../model/types.ts";
import { blockBytes } from "../runner/kv-storage.ts";
import { ModelRunner } from "../runner/model-runner.ts";
import type { LlamaWeights } from "../runner/weights.ts";
import { draftRunnerOptions, type TreeSizes } from "./draft-limits.ts";
import type { DraftWidths } from "./draft-widths.ts";
import { eagleDecoder } from "./eagle/decoder.ts";
import { FeatureSources } from "./eagle/feature-sources.ts";
import { eagleView } from "./eagle/view.ts";
import { uploadEagle } from "./eagle/weights.ts";
import { eagle3Decoder } from "./eagle3/decoder.ts";
import { uploadEagle3 } from "./eagle3/weights.ts";
import { mostCandidates } from "./glide/cape.ts";
import { CrossInputs } from "./glide/cross-inputs.ts";
import { glideDecoder } from "./glide/decoder.ts";
import { glideView } from "./glide/view.ts";
import { uploadGlide } from "./glide/weights.ts";
import { MedusaProposer } from "./medusa/proposer.ts";
import { MedusaRunner } from "./medusa/runner.ts";
import { noSuccessors, uploadSuccessors } from "./medusa/successors.ts";
import { uploadMedusa } from "./medusa/weights.ts";
import { ModelProposer } from "./model-proposer.ts";
import type { Proposer } from "./proposer.ts";
import { featureBlockBytes, featuresFor, featuresOf } from "./target-features.ts";

/** The target as a drafter that is part of it sees it. */
export interface AttachableTarget {
  readonly gpu: GpuContext;
  readonly config: LlamaConfig;
  readonly weights: LlamaWeights;
  readonly runner: ModelRunner;
}

export interface DraftSizes extends DraftWidths, TreeSizes {}

/**
 * Puts a drafter on the target's device.
 * @throws ModelFileError where the files are damaged or do not fit the target, GpuError
 */
export async function attachDrafter(
  files: DrafterFiles,
  target: AttachableTarget,
  sizes: DraftSizes,
): Promise<Proposer> {
  if (files.kind === "medusa") return attachMedusa(files, target, sizes);
  checkFits(files, target.config);
  return files.kind === "glide" ? attachGlide(files, target, sizes) : attachEagle(files, target, sizes);
}

async function attachMedusa(
  files: Extract<DrafterFiles, { kind: "medusa" }>,
  target: AttachableTarget,
  sizes: DraftSizes,
): Promise<Proposer> {
  const { gpu, config, weights, runner } = target;
  const heads = uploadMedusa(gpu, files, config);
  const { maxNumSeqs } = sizes;
  const topK = Math.max(sizes.treeTopK, sizes.medusaCandidates);
  const features = featuresOf(runner, featuresFor(files, config), config);
  const seen = { config, lmHead: weights.lmHead, features, requestSampling: runner.requestSampling };
  const { successors } = files;
  if (successors && successors.others.length !== config.vocabSize) {
    const problem = `has ${successors.others.length} tokens, the target ${config.vocabSize}: make it for this target`;
    throw new ModelFileError("unsupported", join(files.path, SUCCESSOR_FILE), problem);
  }
  const table = successors ? uploadSuccessors(gpu.pool, successors) : noSuccessors(gpu.pool);
  return new MedusaProposer(await MedusaRunner.create(gpu, heads, seen, { maxNumSeqs, topK }, table));
}

/** What an EAGLE drafter keeps of its own rows: what its layer gives. */
const OWN_FEATURES = ["final"] as const;

/** Bytes of one block of a drafter's own cache. */
export function attachedBlockBytes(gpu: GpuContext, files: DrafterFiles): number {
  if (files.kind === "medusa") return 0;
  const numFeatures = files.kind === "glide" ? 0 : OWN_FEATURES.length;
  return blockBytes(gpu, files.config) + featureBlockBytes(gpu, numFeatures, files.config);
}

async function attachEagle(
  files: Exclude<DrafterFiles, { kind: "glide" | "medusa" }>,
  target: AttachableTarget,
  sizes: DraftSizes,
): Promise<Proposer> {
  const { gpu, config, weights, runner } = target;
  const options = { ...draftRunnerOptions(runner, sizes, sizes.treeTopK), features: OWN_FEATURES };
  const features = featuresOf(runner, featuresFor(files, config), config);
  const sources = new FeatureSources(gpu, options.maxRows);
  const decoder =
    files.kind === "eagle3"
      ? eagle3Decoder(gpu, uploadEagle3(gpu, files, options.maxModelLen), files, { weights, features }, sources)
      : eagleDecoder(gpu, files.config, uploadEagle(gpu, files, options.maxModelLen), { weights, features }, sources);
  const drafts = await ModelRunner.create(gpu, { config: files.config, decoder }, options);
  const view = { ...eagleView(sources, sizes.treeTopK), name: files.kind };
  return new ModelProposer(drafts, new BlockManager(options.numBlocks), view);
}

async function attachGlide(files: DecoderFiles, target: AttachableTarget, sizes: DraftSizes): Promise<Proposer> {
  const { gpu, config, weights, runner } = target;
  // CaPE says how many candidates a node of a dynamic tree gets, a shape how many one of its nodes.
  const topK = Math.max(mostCandidates(sizes.cape), sizes.treeTopK);
  const options = draftRunnerOptions(runner, sizes, topK);
  const own = uploadGlide(gpu, files, options.maxModelLen);
  const longest = Math.min(numBlocksFor(options.maxModelLen + sizes.treeNodes), options.numBlocks);
  // One word more is for a table of the reserved block.
  const cross = new CrossInputs(gpu, { ...options, maxTableWords: 1 + sizes.maxNumSeqs * longest });
  const kv = runner.kv.layer(config.numLayers - 1);
  const decoder = glideDecoder(gpu, files.config, own, { numKvHeads: config.numKvHeads, weights, kv }, cross);
  const drafts = await ModelRunner.create(gpu, { config: files.config, decoder }, options);
  return new ModelProposer(
    drafts,
    new BlockManager(options.numBlocks),
    glideView(gpu.pool, cross, sizes.treeTopK, sizes.cape),
  );
}

/** @throws ModelFileError naming the first size in which drafter and target differ. */
function checkFits({ kind, config, path }: DecoderFiles | Eagle3Files, target: LlamaConfig): void {
  for (const size of ["hiddenSize", "vocabSize", ...(kind === "glide" ? (["headDim"] as const) : [])] as const) {
    if (config[size] === target[size]) continue;
    const problem = `is made for another model: its ${size} is ${config[size]}, the target's ${target[size]}`;
    throw new ModelFileError("unsupported", path, problem);
  }
  if (config.numLayers !== 1) throw new ModelFileError("unsupported", path, `has ${config.numLayers} layers, not one`);
  if (kind === "glide" && config.numHeads % target.numKvHeads !== 0) {
    const problem = `its ${config.numHeads} heads do not share the target's ${target.numKvHeads} KV heads evenly`;
    throw new ModelFileError("unsupported", path, problem);
  }
}
