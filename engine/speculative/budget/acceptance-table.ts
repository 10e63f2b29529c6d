import { type DraftTree, survivals } from "../draft-tree.ts";
import { DepthFactors } from "./depth-factors.ts";
import { SharedRows } from "./shared-rows.ts";
import { TextShift } from "./text-shift.ts";
import type { JudgedDraft } from "./verified-draft.ts";

/** Before anything was seen: a good drafter's chain, and little from its branches. */
const CHAIN_PRIOR = 0.8;
const BRANCH_PRIOR = 0.05;
/** Trees that an estimate looks back on, and the ratio of what is accepted to what is estimated. */
const WINDOW = 256;
/** Trees that what is thought before anything was seen counts as. */
const NUM_PRIOR = 4;
/** Tokens by which that ratio is thought to be 1. */
const RATIO_PRIOR = 4;
/** Standard deviation of what one tree gets accepted, over its mean; and by how much the mean is another one after a plain step, likewise. */
const SPREAD = 0.8;
const WALK = 0.012;
/** Trees that what was seen counts as at least, once so many were: texts differ, but not without bounds. */
const LEAST_KNOWN = 8;

/**
 * How many draft tokens trees of any size and depth get accepted. The nodes of a tree that are no deeper than d, by falling
 * estimate of survival, are the order in which smaller trees are made: so one tree tells what every smaller one would get, and of
 * each rank in that order only the mean estimate is kept. Estimates, since what becomes of a tree is mostly luck: sizes that few trees
 * had would be off by more than sizes differ. What became of the latest trees, over what was estimated of them, corrects all sizes alike.
 */
export class AcceptanceTable {
  readonly #maxNodes: number;
  readonly #maxDepth: number;
  /** f64 [maxDepth + 1, maxNodes], by depth limit and rank; the root's rank is 0. */
  readonly #means: Float64Array;
  readonly #counts: Float64Array;
  /** f64 [maxDepth + 1, maxNodes]: sums of the means up to each rank; a row is made anew when it is asked for after something was observed. */
  readonly #sums: Float64Array;
  readonly #isStale: boolean[];
  readonly #shared: SharedRows;
  readonly #depthFactors: DepthFactors;
  readonly #textShift: TextShift;
  /** Trees that what was seen counts as now. */
  #numKnown = 0;
  /** Of the latest trees, draft tokens that were accepted, and that their estimates add up to. */
  #numAccepted = 0;
  #numEstimated = 0;

  constructor(maxNodes: number, maxDepth: number) {
    this.#maxNodes = maxNodes;
    this.#maxDepth = maxDepth;
    this.#means = new Float64Array((maxDepth + 1) * maxNodes);
    this.#counts = new Float64Array((maxDepth + 1) * maxNodes);
    this.#sums = new Float64Array((maxDepth + 1) * maxNodes);
    this.#isStale = Array.from({ length: maxDepth + 1 }, () => true);
    this.#shared = new SharedRows(maxNodes, maxDepth);
    this.#depthFactors = new DepthFactors(maxDepth);
    this.#textShift = new TextShift(maxDepth);
  }

  /** How sure the mean number of accepted tokens is: variance of its log. */
  get variance(): number {
    return SPREAD ** 2 / (NUM_PRIOR + this.#numKnown);
  }

  /** Of what `numTrees` trees show. */
  noise(numTrees: number): number {
    return SPREAD ** 2 / numTrees;
  }

  /**
   * Mean number of draft tokens accepted in trees of so many nodes, root included, down to this depth. A rank that was hardly seen at
   * this depth counts as it does in deeper trees, which is the most that it can be: so that the size is tried.
   * @param numNodes 1…maxNodes @param depth 1…maxDepth
   * @param numSharing trees that share their rows; then `numNodes` is what they have on average
   */
  expected(numNodes: number, depth: number, numSharing = 1): number {
    const row = depth * this.#maxNodes;
    if (this.#isStale[depth] ?? true) {
      for (let rank = 1; rank < this.#maxNodes; rank++)
        this.#sums[row + rank] = (this.#sums[row + rank - 1] ?? 0) + this.#mean(depth, rank);
      this.#isStale[depth] = false;
    }
    const ratio = (this.#numAccepted + RATIO_PRIOR) / (this.#numEstimated + RATIO_PRIOR);
    const own = Math.max(0, (this.#sums[row + numNodes - 1] ?? 0) + this.#textShift.at(depth));
    return ratio * (own + this.#shared.gain(numNodes, depth, numSharing));
  }

  /** @param tree its `probs` calibrated */
  observe({ tree, outcomes, maxNodes, maxDepth }: JudgedDraft): void {
    this.#numKnown = Math.min(this.#numKnown + 1, WINDOW);
    this.#isStale.fill(true);
    const survival = this.#survivals(tree, outcomes);
    const order = byFalling(survival);
    this.#countAccepted(survival, outcomes);
    const isWhole = tree.tokenIds.length < maxNodes;
    let above: readonly number[] = [];
    for (let depth = 1; depth <= Math.min(maxDepth, this.#maxDepth); depth++) {
      const survivalsThere: number[] = [];
      for (const node of order) {
        if ((tree.depths[node] ?? 0) <= depth) survivalsThere.push(survival[node] ?? 0);
        if (survivalsThere.length === this.#maxNodes - 1) break;
      }
      if (isWhole || maxNodes >= this.#maxNodes) this.#shared.observe(depth, survivalsThere, WINDOW);
      this.#textShift.observe(depth, survivalsThere, above, isWhole, this.#numKnown);
      above = survivalsThere;
      let rank = 0;
      for (const estimate of survivalsThere) this.#add(depth, ++rank, estimate);
      // Of a tree that is not full there is no further candidate, also for a larger one.
      while (isWhole && ++rank < this.#maxNodes) this.#add(depth, rank, 0);
    }
  }

  /** A step without trees: the text may have become another kind of text. */
  age(): void {
    const numLeft = SPREAD ** 2 / (this.variance + WALK ** 2) - NUM_PRIOR;
    const numKnown = Math.max(Math.min(this.#numKnown, LEAST_KNOWN), numLeft);
    if (this.#numKnown > 0) this.#keepAccepted(numKnown / this.#numKnown);
    this.#numKnown = numKnown;
  }

  /** Of a tree's nodes, at most 1, by what it is off by so far; learns from the tree. */
  #survivals(tree: DraftTree, outcomes: readonly number[]): readonly number[] {
    const estimates = survivals(tree);
    const factors = this.#depthFactors.all;
    const survival = estimates.map((estimate, node) => Math.min(1, estimate * (factors[tree.depths[node] ?? 0] ?? 1)));
    this.#depthFactors.observe(tree.depths, estimates, outcomes);
    return survival;
  }

  /** Shrunk to what deeper trees say, and those to what was thought before, as if each were a few trees. */
  #mean(depth: number, rank: number): number {
    let mean = rank <= depth ? CHAIN_PRIOR ** rank : BRANCH_PRIOR;
    for (let limit = this.#maxDepth; limit >= depth; limit--) {
      const at = limit * this.#maxNodes + rank;
      const count = this.#counts[at] ?? 0;
      mean += (count / (count + NUM_PRIOR)) * ((this.#means[at] ?? 0) - mean);
    }
    return mean;
  }

  #countAccepted(survival: readonly number[], outcomes: readonly number[]): void {
    this.#keepAccepted(1 - 1 / Math.max(1, this.#numKnown));
    for (let node = 1; node < survival.length; node++) {
      this.#numAccepted += outcomes[node] ?? 0;
      this.#numEstimated += survival[node] ?? 0;
    }
  }

  /** Old trees count for this share of what they did. */
  #keepAccepted(share: number): void {
    this.#numAccepted *= share;
    this.#numEstimated *= share;
  }

  #add(depth: number, rank: number, estimate: number): void {
    const at = depth * this.#maxNodes + rank;
    const count = Math.min((this.#counts[at] ?? 0) + 1, Math.max(1, this.#numKnown));
    this.#counts[at] = count;
    this.#means[at] = (this.#means[at] ?? 0) + (estimate - (this.#means[at] ?? 0)) / count;
  }
}

/** Nodes but the root, ties by index: insertion, since trees mostly come best first. */
function byFalling(survival: readonly number[]): number[] {
  const order: number[] = [];
  for (let node = 1; node < survival.length; node++) {
    const own = survival[node] ?? 0;
    let at = order.length;
    while (at > 0 && (survival[order[at - 1] ?? 0] ?? 0) < own) {
      order[at] = order[at - 1] ?? 0;
      at--;
    }
    order[at] = node;
  }
  return order;
}
