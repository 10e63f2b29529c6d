import { resolveModel } from "../engine/model/bundled.ts";
import { openDrafter } from "../engine/model/drafter-files.ts";
import { openModel } from "../engine/model/open.ts";
import { ModelRunner } from "../engine/runner/model-runner.ts";
import { uploadLlama } from "../engine/runner/weights.ts";
import { GREEDY } from "../engine/sampling-params.ts";
import { attachDrafter } from "../engine/speculative/attach.ts";
import { DraftModelProposer } from "../engine/speculative/draft-model.ts";
import type { DraftTree } from "../engine/speculative/draft-tree.ts";
import type { Proposer } from "../engine/speculative/proposer.ts";
import { featuresFor } from "../engine/speculative/target-features.ts";
import type { GpuContext } from "../kernels/index.ts";
import { BlockManager } from "../kvcache/block-manager.ts";
import type { ReferencePrompt } from "./prompts.ts";
import { WithTarget } from "./with-target.ts";

/** Drafters that `models/reference.json` has chains of. */
export const CHAIN_DRAFTERS = ["draft", "eagle", "glide", "medusa"] as const;
export type ChainDrafter = (typeof CHAIN_DRAFTERS)[number];

export interface ChainFigures {
  readonly numPositions: number;
  /** Accepted tokens and one more. */
  readonly meanTokensAStep: number;
}

const LENGTH = 4;
const MAX_MODEL_LEN = 512;
const LIMITS = { maxRows: 256, maxLogits: 8, maxModelLen: MAX_MODEL_LEN, numBlocks: 80, maxTableWords: 256 };
const SIZES = {
  ...{ maxNumSeqs: 1, treeNodes: 1 + LENGTH, treeDepth: LENGTH, treeTopK: 1, medusaCandidates: 1 },
  cape: [{ upTo: 1, numCandidates: 1 }],
};

/**
 * Greedy chains of four drafts, started at every position of texts that are known: how far do they agree with the text? The
 * chain at position t knows the tokens up to t, and of the target what it has computed before t.
 * @param gpu keeps what was compiled, for the next drafter; its buffers are gone afterwards
 */
export async function measureChains(
  gpu: GpuContext,
  drafter: ChainDrafter,
  texts: readonly ReferencePrompt[],
): Promise<ChainFigures> {
  const proposer = await openProposer(gpu, drafter);
  let [numPositions, numTokens] = [0, 0];
  for (const [i, { promptTokens, greedyTokens }] of texts.entries()) {
    const text = [...promptTokens, ...greedyTokens];
    const id = String(i);
    proposer.begin(id, text.slice(0, promptTokens.length + 1));
    for (let at = promptTokens.length; at < text.length - LENGTH - 1; at++) {
      const target = { blockTable: [], numComputedTokens: 0 };
      const request = { id, choice: 0, params: GREEDY, maxNodes: 1 + LENGTH, maxDepth: LENGTH, target };
      const [tree] = await proposer.propose([{ ...request, tokenIds: text.slice(0, at + 1) }]);
      numPositions++;
      numTokens += 1 + numAgreed(tree, text.slice(at + 1));
    }
    proposer.end(id);
  }
  proposer.close();
  gpu.pool.destroyAll();
  return { numPositions, meanTokensAStep: numTokens / numPositions };
}

/** Nodes of a chain that are the text's next tokens. */
function numAgreed(chain: DraftTree | undefined, next: readonly number[]): number {
  const drafted = chain?.tokenIds.slice(1) ?? [];
  const wrong = drafted.findIndex((token, i) => token !== next[i]);
  return wrong < 0 ? drafted.length : wrong;
}

async function openProposer(gpu: GpuContext, drafter: ChainDrafter): Promise<Proposer> {
  const files = openDrafter(resolveModel(drafter === "draft" ? "sapling-2m-draft" : `sapling-14m-${drafter}`));
  if (!("kind" in files)) {
    const runner = await ModelRunner.create(gpu, files, { ...LIMITS, topK: 1 });
    files.weights.close();
    return new DraftModelProposer(runner, new BlockManager(LIMITS.numBlocks));
  }
  const { config, weights: source } = openModel(resolveModel("sapling-14m"));
  const weights = uploadLlama(gpu.pool, gpu.family, config, source, MAX_MODEL_LEN);
  source.close();
  const runner = await ModelRunner.create(
    gpu,
    { config, weights },
    { ...LIMITS, topK: 1, features: featuresFor(files, config) },
  );
  const proposer = await attachDrafter(files, { gpu, config, weights, runner }, SIZES);
  files.weights.close();
  return new WithTarget(gpu.device, proposer, runner);
}
