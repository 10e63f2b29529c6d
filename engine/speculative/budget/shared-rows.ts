/** Survivals that are told apart: so many steps down from 1, each by this factor; lower ones count as the last. */
const NUM_BINS = 64;
const BIN_LOG = 0.1;
/** Trees before what was seen is believed by half. */
const NUM_PRIOR = 4;

/** Of trees down to one depth, as means over them. */
interface Means {
  count: number;
  /** By rank: survival of the best node, the next one, … */
  readonly ranks: Float64Array;
  /** By survival: nodes that have it, and what theirs add up to. */
  readonly nodes: Float64Array;
  readonly sums: Float64Array;
}

/**
 * What trees gain by sharing their rows: the best nodes of all of them are verified, wherever they are. Of very many trees those are the
 * nodes above one survival; of B trees (1 − 1 / B) of the gain is left, as experiments with drafts of EAGLE and Medusa say.
 */
export class SharedRows {
  readonly #maxNodes: number;
  /** By depth, from 1. */
  readonly #means: readonly Means[];

  constructor(maxNodes: number, maxDepth: number) {
    this.#maxNodes = maxNodes;
    this.#means = Array.from({ length: maxDepth }, () => ({
      count: 0,
      ranks: new Float64Array(maxNodes),
      nodes: new Float64Array(NUM_BINS),
      sums: new Float64Array(NUM_BINS),
    }));
  }

  /**
   * A tree as large as they may be.
   * @param survivals of its nodes down to this depth, root left out, falling
   * @param window trees that means look back on
   */
  observe(depth: number, survivals: readonly number[], window: number): void {
    const means = this.#means[depth - 1];
    if (means === undefined) return;
    means.count = Math.min(means.count + 1, window);
    const rate = 1 / means.count;
    for (const array of [means.ranks, means.nodes, means.sums]) {
      for (let i = 0; i < array.length; i++) array[i] = (1 - rate) * (array[i] ?? 0);
    }
    for (const [rank, survival] of survivals.entries()) {
      const bin = Math.min(NUM_BINS - 1, Math.floor(-Math.log(survival) / BIN_LOG));
      means.ranks[rank] = (means.ranks[rank] ?? 0) + rate * survival;
      means.nodes[bin] = (means.nodes[bin] ?? 0) + rate;
      means.sums[bin] = (means.sums[bin] ?? 0) + rate * survival;
    }
  }

  /** Draft tokens that a tree gets accepted beyond what it does with rows of its own; root included in `numNodes`, which is the mean. */
  gain(numNodes: number, depth: number, numTrees: number): number {
    const means = this.#means[depth - 1];
    if (means === undefined || numTrees < 2 || numNodes >= this.#maxNodes) return 0;
    const own = means.ranks.subarray(0, numNodes - 1).reduce((sum, survival) => sum + survival, 0);
    let [left, shared] = [numNodes - 1, 0];
    for (let bin = 0; bin < NUM_BINS && left > 0; bin++) {
      const count = means.nodes[bin] ?? 0;
      if (count > 0) shared += (means.sums[bin] ?? 0) * Math.min(1, left / count);
      left -= count;
    }
    return (means.count / (means.count + NUM_PRIOR)) * (1 - 1 / numTrees) * Math.max(0, shared - own);
  }
}
