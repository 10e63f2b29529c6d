import { survivals } from "../draft-tree.ts";
import type { JudgedDraft } from "./verified-draft.ts";

/** Before anything was seen: a good drafter's chain, and little from its branches. */
const CHAIN_PRIOR = 0.8;
const BRANCH_PRIOR = 0.05;
/** Trees that an estimate looks back on. */
const WINDOW = 512;
/** Weight of what is known from long ago, in trees. */
const AGED = 24;

/**
 * How many draft tokens trees of any size and depth get accepted. The nodes of a tree that are no deeper than d, by falling
 * estimate of survival, are the order in which smaller trees are made: so one verified tree tells what every smaller one would have
 * got, and of each rank in that order only the mean acceptance is kept.
 */
export class AcceptanceTable {
  readonly #maxNodes: number;
  readonly #maxDepth: number;
  /** f64 [maxDepth + 1, maxNodes], by depth limit and rank; the root's rank is 0. */
  readonly #means: Float64Array;
  readonly #counts: Float64Array;
  #numTrees = 0;

  constructor(maxNodes: number, maxDepth: number) {
    this.#maxNodes = maxNodes;
    this.#maxDepth = maxDepth;
    this.#means = new Float64Array((maxDepth + 1) * maxNodes);
    this.#counts = new Float64Array((maxDepth + 1) * maxNodes);
  }

  get numTrees(): number {
    return this.#numTrees;
  }

  /**
   * Mean number of draft tokens accepted in trees of so many nodes, root included, down to this depth. A rank that was not seen at
   * this depth yet counts as it does in deeper trees, which is the most that it can be: so that the size is tried.
   */
  expected(numNodes: number, depth: number): number {
    let sum = 0;
    for (let rank = 1; rank < numNodes; rank++) sum += this.#mean(depth, rank);
    return sum;
  }

  /** @param tree its `probs` calibrated */
  observe({ tree, outcomes, maxNodes, maxDepth }: JudgedDraft): void {
    this.#numTrees++;
    const survival = survivals(tree);
    const order = [...tree.tokenIds.keys()].slice(1);
    order.sort((a, b) => (survival[b] ?? 0) - (survival[a] ?? 0) || a - b);
    const isWhole = tree.tokenIds.length < maxNodes;
    for (let depth = 1; depth <= Math.min(maxDepth, this.#maxDepth); depth++) {
      let rank = 0;
      for (const node of order) {
        if ((tree.depths[node] ?? 0) <= depth && ++rank < this.#maxNodes) this.#add(depth, rank, outcomes[node] ?? 0);
      }
      // Of a tree that is not full there is no further candidate, also for a larger one.
      while (isWhole && ++rank < this.#maxNodes) this.#add(depth, rank, 0);
    }
  }

  /** What was observed so far is from long ago: the next observations weigh more. */
  age(): void {
    for (const [i, count] of this.#counts.entries()) this.#counts[i] = Math.min(count, AGED);
  }

  #mean(depth: number, rank: number): number {
    for (let limit = depth; limit <= this.#maxDepth; limit++) {
      const at = limit * this.#maxNodes + rank;
      if ((this.#counts[at] ?? 0) > 0) return this.#means[at] ?? 0;
    }
    return rank <= depth ? CHAIN_PRIOR ** rank : BRANCH_PRIOR;
  }

  #add(depth: number, rank: number, outcome: number): void {
    const at = depth * this.#maxNodes + rank;
    const count = Math.min((this.#counts[at] ?? 0) + 1, WINDOW);
    this.#counts[at] = count;
    this.#means[at] = (this.#means[at] ?? 0) + (outcome - (this.#means[at] ?? 0)) / count;
  }
}
