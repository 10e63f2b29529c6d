import { NO_TOKEN } from "../../kernels/index.ts";
import type { BlockManager } from "../../kvcache/block-manager.ts";
import type { BatchSequence } from "../runner/batch.ts";
import type { ModelRunner, SampledRows } from "../runner/model-runner.ts";
import { DraftTables } from "./draft-tables.ts";
import { type DraftTree, rootOnly } from "./draft-tree.ts";
import type { Hints, ProposeRequest, Proposer } from "./proposer.ts";
import { type Candidate, DynamicTreeBuilder } from "./tree-builder.ts";
import { StaticTreeBuilder } from "./tree-shape.ts";

/** A tree that is being built, and the name of the block table that its sequence has here. */
interface Drafting {
  readonly request: ProposeRequest;
  readonly table: string;
  readonly builder: DynamicTreeBuilder | StaticTreeBuilder;
}

/**
 * Drafts with a small model of the same vocabulary: a dynamic tree (EAGLE-2, arXiv 2406.16858, section 4), level by
 * level, one pass a level for all sequences. When sampling, candidates are ranked with the very noise that the target
 * will draw with at their positions (drafter invariance, arXiv 2408.07978).
 *
 * Its paged cache, which has a prefix cache like the target's, holds the known tokens; draft nodes lie behind them and are forgotten with the step, so that it is
 * rolled back whatever the target accepted, and accepted tokens are computed with the next step's.
 */
export class DraftModelProposer implements Proposer {
  readonly name = "draft";
  readonly runner: ModelRunner;
  /** Of the runner's own KV cache. */
  readonly tables: DraftTables;

  /** @param blocks of the runner's own KV cache. Children of a node, and nodes that a level expands: the runner's topK. */
  constructor(runner: ModelRunner, blocks: BlockManager) {
    this.runner = runner;
    this.tables = new DraftTables(blocks);
  }

  begin(id: string, tokenIds: readonly number[], { cacheSalt }: Hints = {}): void {
    this.tables.begin(id, tokenIds, cacheSalt);
  }

  /** Does nothing: the next request's tokens say it all. */
  observe(): void {}

  end(id: string): void {
    this.tables.end(id);
  }

  close(): void {
    this.tables.endAll();
  }

  async propose(requests: readonly ProposeRequest[]): Promise<readonly DraftTree[]> {
    this.tables.hold();
    try {
      const draftings = await this.#catchUp(requests);
      await this.#grow(draftings);
      const trees = new Map(draftings.map(({ request, builder }) => [request.id, builder.build()]));
      return requests.map(({ id, tokenIds }) => trees.get(id) ?? rootOnly(tokenIds.at(-1) ?? 0));
    } finally {
      this.tables.release();
    }
  }

  /** One pass over known tokens that have no K/V yet; the sequences that reach their root there start a tree. */
  async #catchUp(requests: readonly ProposeRequest[]): Promise<Drafting[]> {
    const draftings: Drafting[] = [];
    const batch: BatchSequence[] = [];
    const computed: (() => void)[] = [];
    let numRowsLeft = this.runner.options.maxRows;
    for (const { id, tokenIds } of requests) this.tables.adopt(id, tokenIds.length - 1);
    const pending = requests.map((request) => ({ request, numPending: this.#numPending(request) }));
    // Those with few pending tokens first: a long prompt takes what is left, and goes on in the next step.
    for (const { request, numPending } of pending.sort((a, b) => a.numPending - b.numPending)) {
      const table = this.tables.tableOf(request.id);
      const numTokens = Math.min(numPending, numRowsLeft);
      if (table === undefined || numTokens === 0) continue;
      const { tokenIds, params, choice, maxNodes, maxDepth, shape } = request;
      const startPosition = tokenIds.length - numPending;
      const end = startPosition + numTokens;
      const drafts = end === tokenIds.length && maxNodes > 1 && maxDepth > 0;
      const numExpanded = shape ? shape.parents.length : this.runner.options.topK * (maxDepth - 1);
      const numNodes = drafts ? numExpanded : 0;
      if (!this.#blocks.ensure(table, end + numNodes)) continue;
      numRowsLeft -= numTokens;
      const sampling = drafts ? { sampling: { params, choice } } : {};
      const blockTable = this.#blocks.blockTable(table);
      batch.push({ tokenIds, startPosition, numTokens, blockTable, rootPosition: end - 1, ...sampling });
      computed.push(() => this.#blocks.commit(table, end));
      if (drafts) draftings.push({ request, table, builder: this.#builder(request) });
    }
    if (batch.length === 0) return [];
    const drawn = await this.runner.run(batch);
    for (const commit of computed) commit();
    for (const [i, { builder }] of draftings.entries()) builder.expand([this.#candidates(drawn, i)]);
    return draftings;
  }

  /** Expands the trees below their roots, a pass a level, and gives their slots back. */
  async #grow(draftings: readonly Drafting[]): Promise<void> {
    for (let level = growing(draftings); level.length > 0; level = growing(level)) {
      const drawn = await this.runner.run(level.map((drafting) => this.#levelRows(drafting)));
      let at = 0;
      for (const { builder } of level) builder.expand(builder.frontier().map(() => this.#candidates(drawn, at++)));
    }
    for (const { table } of draftings) this.#blocks.trim(table, this.#blocks.numComputedTokens(table));
  }

  /** The frontier's nodes. Those of earlier levels have their K/V already, in slots of the order of expansion. */
  #levelRows({ request: { tokenIds, params, choice }, table, builder }: Drafting): BatchSequence {
    const expanded = builder.expanded();
    return {
      ...{ tokenIds, startPosition: tokenIds.length, numTokens: 0, rootPosition: tokenIds.length - 1 },
      blockTable: this.#blocks.blockTable(table),
      sampling: { params, choice },
      tree: {
        tokenIds: expanded.map(({ tokenId }) => tokenId),
        parents: expanded.map(({ parent }) => parent),
        depths: expanded.map(({ depth }) => depth),
        firstNode: expanded.length - builder.frontier().length,
      },
    };
  }

  #candidates({ tokenIds, logShares }: SampledRows, row: number): Candidate[] {
    const { topK } = this.runner.options;
    return Array.from({ length: topK }, (_, i) => ({
      tokenId: tokenIds[row * topK + i] ?? NO_TOKEN,
      logSurvival: logShares[row * topK + i] ?? -Infinity,
    })).filter(({ tokenId }) => tokenId !== NO_TOKEN);
  }

  #builder({ tokenIds, maxNodes, maxDepth, shape }: ProposeRequest): DynamicTreeBuilder | StaticTreeBuilder {
    const { topK } = this.runner.options;
    const rootTokenId = tokenIds.at(-1) ?? 0;
    return shape
      ? new StaticTreeBuilder(shape, { rootTokenId, maxNodes, maxDepth })
      : new DynamicTreeBuilder({ rootTokenId, maxNodes, maxDepth, topK });
  }

  /**
   * Known tokens without K/V here; at least the root, whose logits the tree grows from: where nothing is new, as when the
   * target computes a preempted sequence again, it is computed a second time.
   */
  #numPending({ id, tokenIds }: ProposeRequest): number {
    const table = this.tables.tableOf(id);
    return table === undefined ? 0 : Math.max(1, tokenIds.length - this.#blocks.numComputedTokens(table));
  }

  get #blocks() {
    return this.tables.blocks;
  }
}

function growing(draftings: readonly Drafting[]): Drafting[] {
  return draftings.filter(({ builder }) => !builder.done);
}
