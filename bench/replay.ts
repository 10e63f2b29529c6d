import { createProposer } from "../engine/create-proposer.ts";
import type { DrafterChoice } from "../engine/engine-options.ts";
import { resolveModel } from "../engine/model/bundled.ts";
import { openModel } from "../engine/model/open.ts";
import type { OpenedModel } from "../engine/model/types.ts";
import { closeDrafters, type OpenedDrafter, openDrafters } from "../engine/open-drafters.ts";
import { processorOf } from "../engine/runner/logits-processor.ts";
import { ModelRunner } from "../engine/runner/model-runner.ts";
import { uploadLlama } from "../engine/runner/weights.ts";
import type { SamplingParams } from "../engine/sampling-params.ts";
import type { AttachableTarget, DraftSizes } from "../engine/speculative/attach.ts";
import type { VerifiedDraft } from "../engine/speculative/budget/verified-draft.ts";
import type { DraftTree } from "../engine/speculative/draft-tree.ts";
import type { ProposeRequest, Proposer } from "../engine/speculative/proposer.ts";
import { featuresForAll } from "../engine/speculative/target-features.ts";
import { walkedNodes } from "../engine/speculative/walk.ts";
import { createGpuContext, type Gpu, type GpuContext } from "../kernels/index.ts";
import { BlockManager } from "../kvcache/block-manager.ts";
import { BLOCK_SIZE } from "../kvcache/ids.ts";

/** A text of the target's: a prompt and what it said to it. */
export interface ReplayText {
  readonly promptTokens: readonly number[];
  readonly outputTokens: readonly number[];
  readonly params: SamplingParams;
}

export interface ReplayFigures {
  readonly numSteps: number;
  /** Tokens a step. */
  readonly acceptanceLength: number;
}

/** Rows of a target's pass over a text. */
const CHUNK = 64;
/** Rows of a drafter's pass over all prompts, for each text: what has no room would draft later. */
const PROMPT_ROWS = 64;

interface ReplayParts {
  readonly gpu: GpuContext;
  readonly target: AttachableTarget;
  readonly model: OpenedModel;
  readonly sizes: DraftSizes;
  readonly maxTextLen: number;
}

/**
 * Drafts over texts that are known. What is drafted never changes a text, so the steps that an engine would take are found by walking
 * along it: the target computes each text once, for all drafters, and verifies nothing.
 */
export class Replay {
  readonly #parts: ReplayParts;
  /** The target's block table of each text. */
  readonly #tables = new Map<ReplayText, readonly number[]>();
  #numRuns = 0;

  private constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  /** @param drafters those that will be asked for */
  static async create(
    device: Gpu,
    modelName: string,
    drafters: readonly DrafterChoice[],
    sizes: DraftSizes,
    maxTextLen: number,
  ): Promise<Replay> {
    const gpu = createGpuContext(device);
    const model = openModel(resolveModel(modelName));
    const opened = drafters.flatMap((choice) => openDrafters(choice, model));
    const features = featuresForAll(opened.filter(isAttached), model.config);
    closeDrafters(opened);
    const { config } = model;
    const weights = uploadLlama(gpu.pool, gpu.family, config, model.weights, maxTextLen);
    const numBlocks = 1 + sizes.maxNumSeqs * Math.ceil((maxTextLen + sizes.treeNodes) / BLOCK_SIZE);
    const options = {
      ...{ maxRows: PROMPT_ROWS * sizes.maxNumSeqs, maxLogits: 1, maxModelLen: maxTextLen, topK: 1 },
      ...{ numBlocks, maxTableWords: sizes.maxNumSeqs * numBlocks, features, maxRequests: sizes.maxNumSeqs },
    };
    const runner = await ModelRunner.create(gpu, { config, weights }, options);
    return new Replay({ gpu, target: { gpu, config, weights, runner }, model, sizes, maxTextLen });
  }

  /** The target computes the texts, in place of those before them. @throws RangeError for more or longer ones than there is room for */
  async compute(texts: readonly ReplayText[]): Promise<void> {
    const { target, sizes, maxTextLen } = this.#parts;
    const { runner } = target;
    if (texts.length > sizes.maxNumSeqs) throw new RangeError(`at most ${sizes.maxNumSeqs} texts`);
    this.#tables.clear();
    const blocks = new BlockManager(runner.options.numBlocks);
    for (const [i, text] of texts.entries()) {
      const tokenIds = allTokens(text);
      if (tokenIds.length > maxTextLen) throw new RangeError(`a text has at most ${maxTextLen} tokens`);
      const id = String(i);
      blocks.open(id, blocks.hashChain([]));
      if (!blocks.ensure(id, tokenIds.length)) throw new Error("invariant: there are blocks for every text");
      const blockTable = [...blocks.blockTable(id)];
      for (let startPosition = 0; startPosition < tokenIds.length; startPosition += CHUNK) {
        const numTokens = Math.min(CHUNK, tokenIds.length - startPosition);
        await runner.run([
          { tokenIds, startPosition, numTokens, blockTable, rootPosition: startPosition + numTokens - 1 },
        ]);
      }
      this.#tables.set(text, blockTable);
    }
  }

  async openDrafter(choice: DrafterChoice): Promise<Proposer> {
    const { gpu, target, model, sizes, maxTextLen } = this.#parts;
    const drafters = openDrafters(choice, model);
    const draft = drafters.find((drafter) => drafter.kind === "draft");
    const { numBlocks } = target.runner.options;
    const parts = draft && {
      ...{ gpu, config: draft.config, blocks: new BlockManager(numBlocks) },
      weights: uploadLlama(gpu.pool, gpu.family, draft.config, draft.weights, maxTextLen),
    };
    const proposer = await createProposer(drafters, target, parts, sizes);
    closeDrafters(drafters);
    return proposer;
  }

  /**
   * The steps of all texts, in one batch, after their first token each.
   * @param draftParams what the drafter is told of a text's sampling
   * @param observe is told each draft and what became of it
   */
  async run(
    proposer: Proposer,
    draftParams: (text: ReplayText) => SamplingParams = ({ params }) => params,
    observe: (draft: VerifiedDraft) => void = () => {},
  ): Promise<ReplayFigures> {
    const { treeNodes: maxNodes, treeDepth: maxDepth } = this.#parts.sizes;
    const readers = [...this.#tables].map(([text, blockTable], i) => {
      const numKnown = text.promptTokens.length + 1;
      return { id: String(i), text, tokenIds: allTokens(text), blockTable, numKnown };
    });
    // What a drafter remembers of the same texts must not help it.
    const cacheSalt = `replay ${this.#numRuns++}`;
    for (const { id, text } of readers) proposer.begin(id, text.promptTokens, { cacheSalt });
    for (const { id, text } of readers) proposer.observe(id, text.outputTokens.slice(0, 1));
    let [numSteps, numTokens] = [0, 0];
    for (let alive = readers; ; ) {
      alive = alive.filter(({ numKnown, tokenIds }) => numKnown < tokenIds.length);
      if (alive.length === 0) break;
      const requests = alive.map(({ id, text, tokenIds, blockTable, numKnown }): ProposeRequest => {
        const target = { blockTable, numComputedTokens: numKnown - 1 };
        const known = tokenIds.slice(0, numKnown);
        const params = draftParams(text);
        const processor = processorOf(params, { tokenIds: known, numPromptTokens: text.promptTokens.length });
        return { id, tokenIds: known, choice: 0, params, processor, target, maxNodes, maxDepth };
      });
      const trees = await proposer.propose(requests);
      for (const [i, reader] of alive.entries()) {
        const emitted = emittedTokens(trees[i], reader.tokenIds.slice(reader.numKnown));
        const tree = trees[i];
        if (tree) observe({ tree, tokenIds: emitted, maxNodes, maxDepth });
        proposer.observe(reader.id, emitted);
        reader.numKnown += emitted.length;
        numSteps++;
        numTokens += emitted.length;
      }
    }
    for (const { id } of readers) proposer.end(id);
    return { numSteps, acceptanceLength: numTokens / numSteps };
  }

  close(): void {
    this.#parts.model.weights.close();
    this.#parts.gpu.pool.destroyAll();
  }
}

function isAttached(drafter: OpenedDrafter) {
  return drafter.kind !== "draft" && drafter.kind !== "suffix";
}

function allTokens({ promptTokens, outputTokens }: ReplayText): readonly number[] {
  return [...promptTokens, ...outputTokens];
}

/** Accepted tokens and the bonus token, as far as the text goes. */
function emittedTokens(tree: DraftTree | undefined, next: readonly number[]): readonly number[] {
  const numAccepted = tree === undefined ? 0 : walkedNodes(tree, next).length - 1;
  return next.slice(0, numAccepted + 1);
}

/** Drafting without the target's noise: the best tokens, however the target draws. */
export function withoutNoise({ params }: ReplayText): SamplingParams {
  return { ...params, temperature: 0 };
}
