import { NO_TOKEN } from "../../kernels/index.ts";
import { invariant } from "../../kvcache/invariant.ts";
import type { SampledRows } from "../runner/model-runner.ts";
import type { DraftTree } from "./draft-tree.ts";

/** A possible child, as a drafter gives it. */
export interface Candidate {
  readonly tokenId: number;
  /**
   * Natural log of the estimated probability that the target draws this token, given that it got to the parent. The
   * drafter's log-probability when greedy; its share of the perturbed scores when drafting with the target's noise, as a
   * first-ranked candidate then is accepted far more often than its probability says. Taken as at most 0; −∞ and NaN
   * say that the candidate is none.
   */
  readonly logSurvival: number;
}

/** What a pass drew for a row, best first, without the places that stayed empty. */
export function drawnCandidates(
  { tokenIds, logShares }: Pick<SampledRows, "tokenIds" | "logShares">,
  row: number,
  topK: number,
): Candidate[] {
  const candidates = Array.from({ length: topK }, (_, i) => ({
    tokenId: tokenIds[row * topK + i] ?? NO_TOKEN,
    logSurvival: logShares[row * topK + i] ?? -Infinity,
  }));
  return candidates.filter(({ tokenId }) => tokenId !== NO_TOKEN);
}

/** A node whose children are wanted. */
export interface FrontierNode {
  /** Place in the order of expansion: 0 is the root, and every frontier goes on where the one before it ended. */
  readonly id: number;
  readonly tokenId: number;
  /** The parent's id, −1 for the root. */
  readonly parent: number;
  readonly depth: number;
}

/** A candidate in the pool; its place there is its index. */
interface Pooled {
  readonly index: number;
  /** The parent's index in the pool, −1 where it is the root. */
  readonly parent: number;
  /** The parent's id in the order of expansion. */
  readonly expandedParent: number;
  readonly tokenId: number;
  readonly depth: number;
  readonly prob: number;
  /** Σ log-survival from the root: log of the estimated probability that the walk gets here. */
  readonly score: number;
}

export interface TreeBuilderOptions {
  readonly rootTokenId: number;
  /** Nodes of the finished tree, root included. */
  readonly maxNodes: number;
  readonly maxDepth: number;
  /** Children that a node may have. */
  readonly topK: number;
  /** Nodes that a level expands; topK where it is left out. */
  readonly numExpanded?: number;
}

/**
 * Grows EAGLE-2's dynamic draft tree (arXiv 2406.16858), level by level: while not `done`, draft the successors of every
 * `frontier()` node and give them to `expand`; then `build`. Each level expands its best nodes by path score, and
 * the finished tree is the best `maxNodes − 1` of all candidates. Scores never rise with depth and ties go to the lower
 * index, so that choice is closed under ancestors.
 *
 * A node that is not among the best `maxNodes − 1` so far is not expanded: neither it nor its descendants can end up in
 * the tree. Pure; one instance a tree.
 */
export class DynamicTreeBuilder {
  readonly #options: TreeBuilderOptions;
  readonly #pool: Pooled[] = [];
  readonly #expanded: FrontierNode[] = [];
  /** Places in the pool of the nodes to expand, −1 for the root; in step with the end of `#expanded`. */
  #frontier: readonly number[] = [];

  constructor(options: TreeBuilderOptions) {
    this.#options = options;
    if (options.maxNodes <= 1 || options.maxDepth <= 0) return;
    this.#frontier = [-1];
    this.#expanded.push({ id: 0, tokenId: options.rootTokenId, parent: -1, depth: 0 });
  }

  /** There is nothing left to expand. */
  get done(): boolean {
    return this.#frontier.length === 0;
  }

  /** Nodes to expand at this level; the root first of all. */
  frontier(): readonly FrontierNode[] {
    return this.#frontier.length === 0 ? [] : this.#expanded.slice(-this.#frontier.length);
  }

  /** All frontiers so far, this one included: `expanded()[i].id` is i, and parents come before children. */
  expanded(): readonly FrontierNode[] {
    return this.#expanded;
  }

  /**
   * Takes the children of every frontier node, in the frontier's order, and moves on to the next level.
   * @param candidates of each node, best first; the first `topK` distinct ones count
   */
  expand(candidates: readonly (readonly Candidate[])[]): void {
    const frontier = this.frontier();
    invariant(candidates.length === frontier.length, "tree builder: one list of candidates for each frontier node");
    const firstNew = this.#pool.length;
    for (const [i, node] of frontier.entries()) {
      const parent = this.#frontier[i] ?? -1;
      for (const candidate of distinct(candidates[i] ?? [], this.#options.topK)) this.#add(node, parent, candidate);
    }
    const { topK, maxDepth, numExpanded = topK } = this.#options;
    const best = this.#best();
    const next = best.filter(({ index, depth }) => index >= firstNew && depth < maxDepth).slice(0, numExpanded);
    this.#frontier = next.map(({ index }) => index);
    for (const { tokenId, depth, expandedParent } of next) {
      this.#expanded.push({ id: this.#expanded.length, tokenId, parent: expandedParent, depth });
    }
  }

  /** The tree of the best `maxNodes − 1` candidates so far, below the root, best first. */
  build(): DraftTree {
    const chosen = this.#best();
    const nodeOf = new Map(chosen.map(({ index }, i) => [index, i + 1]));
    return {
      tokenIds: [this.#options.rootTokenId, ...chosen.map(({ tokenId }) => tokenId)],
      parents: [-1, ...chosen.map(({ parent }) => nodeOf.get(parent) ?? 0)],
      probs: [1, ...chosen.map(({ prob }) => prob)],
      depths: [0, ...chosen.map(({ depth }) => depth)],
    };
  }

  #add({ id, depth }: FrontierNode, parent: number, { tokenId, logSurvival }: Candidate): void {
    const survival = Math.min(0, logSurvival);
    this.#pool.push({
      ...{ index: this.#pool.length, parent, expandedParent: id, tokenId, depth: depth + 1 },
      prob: Math.exp(survival),
      // Rounded as on the device (wgsl/draft_pool.wgsl), so that both build the same tree.
      score: Math.fround((this.#pool[parent]?.score ?? 0) + survival),
    });
  }

  /** Best `maxNodes − 1` of the pool, by descending score, then ascending index. */
  #best(): Pooled[] {
    return this.#pool
      .toSorted((a, b) => b.score - a.score || a.index - b.index)
      .slice(0, Math.max(0, this.#options.maxNodes - 1));
  }
}

function distinct(candidates: readonly Candidate[], topK: number): Candidate[] {
  const seen = new Map<number, Candidate>();
  for (const candidate of candidates) {
    if (seen.size >= topK) break;
    if (candidate.logSurvival > -Infinity && !seen.has(candidate.tokenId)) seen.set(candidate.tokenId, candidate);
  }
  return [...seen.values()];
}
