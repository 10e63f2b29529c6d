/** Survivals that are told apart: so many steps down from 1, each by this factor; lower ones count as the last. */
const NUM_BINS = 64;
const BIN_LOG = 0.1;
/** Trees before what was seen is believed by half. */
const NUM_PRIOR = 4;

/** Weights grow, so that what is old need not be touched; from here on they are scaled back. */
const MOST_WEIGHT = 1e9;

/** Of trees down to one depth, as sums over them in which the latest ones have more weight. */
interface Sums {
  count: number;
  /** Of the latest tree, and of all. */
  weight: number;
  total: number;
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
  readonly #sums: readonly Sums[];

  constructor(maxNodes: number, maxDepth: number) {
    this.#maxNodes = maxNodes;
    this.#sums = Array.from({ length: maxDepth }, () => ({
      count: 0,
      weight: 1,
      total: 0,
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
    const of = this.#sums[depth - 1];
    if (of === undefined) return;
    of.count = Math.min(of.count + 1, window);
    if (of.count === window) of.weight /= 1 - 1 / window;
    if (of.weight > MOST_WEIGHT) scaleBack(of);
    const { weight, ranks, nodes, sums } = of;
    of.total += weight;
    for (let rank = 0; rank < survivals.length; rank++) {
      const survival = survivals[rank] ?? 0;
      const bin = Math.min(NUM_BINS - 1, Math.floor(-Math.log(survival) / BIN_LOG));
      ranks[rank] = (ranks[rank] ?? 0) + weight * survival;
      nodes[bin] = (nodes[bin] ?? 0) + weight;
      sums[bin] = (sums[bin] ?? 0) + weight * survival;
    }
  }

  /** Draft tokens that a tree gets accepted beyond what it does with rows of its own; root included in `numNodes`, which is the mean. */
  gain(numNodes: number, depth: number, numTrees: number): number {
    const of = this.#sums[depth - 1];
    if (of === undefined || of.total === 0 || numTrees < 2 || numNodes >= this.#maxNodes) return 0;
    const own = of.ranks.subarray(0, numNodes - 1).reduce((sum, survival) => sum + survival, 0);
    let [left, shared] = [(numNodes - 1) * of.total, 0];
    for (let bin = 0; bin < NUM_BINS && left > 0; bin++) {
      const count = of.nodes[bin] ?? 0;
      if (count > 0) shared += (of.sums[bin] ?? 0) * Math.min(1, left / count);
      left -= count;
    }
    const isKnown = of.count / (of.count + NUM_PRIOR);
    return (isKnown * (1 - 1 / numTrees) * Math.max(0, shared - own)) / of.total;
  }
}

function scaleBack(of: Sums): void {
  for (const array of [of.ranks, of.nodes, of.sums]) {
    for (let i = 0; i < array.length; i++) array[i] = (array[i] ?? 0) / of.weight;
  }
  of.total /= of.weight;
  of.weight = 1;
}
