import type { BlockManager } from "../../kvcache/block-manager.ts";
import { DecoderDrafter } from "../resident/decoder-drafter.ts";
import type { DeviceDrafting } from "../resident/device-drafting.ts";
import type { BatchSequence } from "../runner/batch.ts";
import type { ModelRunner, SampledRows } from "../runner/model-runner.ts";
import { numLookahead } from "./draft-limits.ts";
import { DraftTables } from "./draft-tables.ts";
import { type DraftTree, rootOnly } from "./draft-tree.ts";
import type { DraftView, ViewedRows } from "./draft-view.ts";
import type { Hints, KnownSequence, ProposeRequest, Proposer } from "./proposer.ts";
import { type Candidate, DynamicTreeBuilder, drawnCandidates } from "./tree-builder.ts";
import { StaticTreeBuilder } from "./tree-shape.ts";

/** A tree that is being built, and the name of the block table that its sequence has here. */
interface Drafting {
  readonly request: ProposeRequest;
  readonly table: string;
  readonly builder: DynamicTreeBuilder | StaticTreeBuilder;
}

/**
 * Drafts with a decoder of the target's vocabulary: a dynamic tree (EAGLE-2, arXiv 2406.16858, section 4) or one of the
 * shape that is asked for, level by level, one pass a level for all sequences. When sampling, candidates are ranked with the very noise that the target
 * will draw with at their positions (drafter invariance, arXiv 2408.07978).
 *
 * Its paged cache, which may have a prefix cache like the target's, holds the known tokens; draft nodes lie behind them and are forgotten with the step, so that it is
 * rolled back whatever the target accepted, and accepted tokens are computed with the next step's.
 */
export class ModelProposer implements Proposer {
  readonly name: string;
  readonly runner: ModelRunner;
  /** Of the runner's own KV cache. */
  readonly tables: DraftTables;
  readonly view: DraftView;

  /** @param blocks of the runner's own KV cache. The runner's topK is how many candidates a node has. */
  constructor(runner: ModelRunner, blocks: BlockManager, view: DraftView) {
    this.name = view.name;
    this.runner = runner;
    this.tables = new DraftTables(blocks);
    this.view = view;
  }

  get onDevice(): DeviceDrafting {
    return { create: (gpu, lanes) => DecoderDrafter.create(gpu, this, lanes) };
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

  checkIntegrity(sequences: readonly KnownSequence[]): void {
    this.tables.checkIntegrity(sequences);
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
    const batch: ViewedRows[] = [];
    const computed: (() => void)[] = [];
    let numRowsLeft = this.runner.options.maxRows;
    for (const { id, tokenIds } of requests) this.tables.adopt(id, tokenIds.length - 1);
    const pending = requests.map((request) => ({ request, numPending: this.#numPending(request) }));
    // Those with few pending tokens first: a long prompt takes what is left, and goes on in the next step.
    for (const { request, numPending } of pending.sort((a, b) => a.numPending - b.numPending)) {
      const table = this.tables.tableOf(request.id);
      const numTokens = Math.min(numPending, numRowsLeft);
      if (table === undefined || numTokens <= 0) continue;
      const { tokenIds, params, choice, processor, maxNodes, maxDepth, shape } = request;
      const { shift, numExpanded } = this.view;
      const startPosition = this.#numReady(request) - numPending;
      const end = startPosition + numTokens;
      const reachesRoot = end === tokenIds.length - shift && this.view.canDraft(request);
      const drafts = reachesRoot && maxNodes > 1 && maxDepth > 0;
      const numNodes = drafts ? numLookahead(numExpanded, maxDepth, shape) : 0;
      if (!this.#blocks.ensure(table, end + numNodes)) continue;
      numRowsLeft -= numTokens;
      const rows: BatchSequence = {
        ...{ tokenIds, shift, startPosition, numTokens, rootPosition: end - 1 },
        blockTable: this.#blocks.blockTable(table),
        ...(drafts ? { sampling: { params, choice, processor } } : {}),
      };
      batch.push({ request, rows });
      computed.push(() => this.#blocks.commit(table, end));
      if (drafts) draftings.push({ request, table, builder: this.#builder(request) });
    }
    if (batch.length === 0) return [];
    const drawn = await this.#run(batch);
    for (const commit of computed) commit();
    for (const [i, { builder, request }] of draftings.entries()) builder.expand([this.#candidates(drawn, i, request)]);
    return draftings;
  }

  /** Expands the trees below their roots, a pass a level, and gives their slots back. */
  async #grow(draftings: readonly Drafting[]): Promise<void> {
    for (let level = growing(draftings); level.length > 0; level = growing(level)) {
      const drawn = await this.#run(
        level.map((drafting) => ({ request: drafting.request, rows: this.#levelRows(drafting) })),
      );
      let at = 0;
      for (const { builder, request } of level) {
        builder.expand(builder.frontier().map(() => this.#candidates(drawn, at++, request)));
      }
    }
    for (const { table } of draftings) this.#blocks.trim(table, this.#blocks.numComputedTokens(table));
  }

  #run(batch: readonly ViewedRows[]): Promise<SampledRows> {
    this.view.writeSources(batch);
    return this.runner.run(batch.map(({ rows }) => rows));
  }

  /** The frontier's nodes. Those of earlier levels have their K/V already, in slots of the order of expansion. */
  #levelRows({ request: { tokenIds, params, choice, processor }, table, builder }: Drafting): BatchSequence {
    const expanded = builder.expanded();
    const { shift } = this.view;
    const startPosition = tokenIds.length - shift;
    return {
      ...{ tokenIds, shift, startPosition, numTokens: 0, rootPosition: startPosition - 1 },
      blockTable: this.#blocks.blockTable(table),
      sampling: { params, choice, processor },
      tree: {
        tokenIds: expanded.map(({ tokenId }) => tokenId),
        parents: expanded.map(({ parent }) => parent),
        depths: expanded.map(({ depth }) => depth),
        firstNode: expanded.length - builder.frontier().length,
      },
    };
  }

  #candidates(drawn: SampledRows, row: number, { shape }: ProposeRequest): readonly Candidate[] {
    const candidates = drawnCandidates(drawn, row, this.runner.options.topK);
    return shape ? candidates : this.view.narrow(candidates);
  }

  #builder({ tokenIds, maxNodes, maxDepth, shape }: ProposeRequest): DynamicTreeBuilder | StaticTreeBuilder {
    const { topK } = this.runner.options;
    const { numExpanded } = this.view;
    const limits = { rootTokenId: tokenIds.at(-1) ?? 0, maxNodes, maxDepth };
    return shape ? new StaticTreeBuilder(shape, limits) : new DynamicTreeBuilder({ ...limits, topK, numExpanded });
  }

  /** Positions whose rows can be computed now. */
  #numReady(request: ProposeRequest): number {
    return Math.min(this.view.numReady(request), request.tokenIds.length - this.view.shift);
  }

  /**
   * Rows that can be computed and have no K/V here; where a draft may start at least the root's, whose logits the tree grows
   * from: where nothing is new, as when the target computes a preempted sequence again, it is computed a second time.
   */
  #numPending(request: ProposeRequest): number {
    const table = this.tables.tableOf(request.id);
    if (table === undefined) return 0;
    const numReady = this.#numReady(request);
    const least = numReady > 0 && numReady === request.tokenIds.length - this.view.shift ? 1 : 0;
    return Math.max(least, numReady - this.#blocks.numComputedTokens(table));
  }

  get #blocks() {
    return this.tables.blocks;
  }
}

function growing(draftings: readonly Drafting[]): Drafting[] {
  return draftings.filter(({ builder }) => !builder.done);
}
