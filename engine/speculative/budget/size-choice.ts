import type { TreeLimits } from "../../../scheduler/output.ts";
import type { AcceptanceTable } from "./acceptance-table.ts";
import type { CostModel } from "./cost-model.ts";
import { sizesUpTo } from "./sizes.ts";
import type { ObservedStep } from "./tree-policy.ts";

export interface SizeOptions {
  /** Nodes of one tree at most, root included; at least 2. */
  readonly maxNodes: number;
  readonly maxDepth: number;
  /** Rows of a step. */
  readonly tokenBudget: number;
  /** Steps draft and verify on the device: then no tree is seen before it is verified, and all of a step have one size. */
  readonly draftsOnDevice: boolean;
}

/** Size of the trees of a step, root included, and what is expected of it. */
interface Size {
  readonly numNodes: number;
  readonly depth: number;
  /** Tokens a ms of the whole batch. */
  readonly rate: number;
}

/** Trees of a size may be so much better than they are thought to be; half as much after so many steps with them. */
const HOPE = 0.06;
/** The same where it decides whether any are worth a trial: what was never seen at a load is known no better than by so much. */
const FIRST_HOPE = 0.15;
const NUM_TRIED = 8;
/** So much better another size must be to be worth the change. */
const BETTER = 1.01;
/** Steps between two searches for the best size. */
const SEARCH_EVERY = 6;
/** Steps that the gain of cutting is taken from, and tokens by which it is thought to be none. */
const CUT_WINDOW = 128;
const CUT_PRIOR = 16;

/** Expected tokens a ms of trees of every size, and the size that has the most. */
export class SizeChoice {
  readonly #options: SizeOptions;
  readonly #costs: CostModel;
  readonly #acceptance: AcceptanceTable;
  #inUse: TreeLimits;
  /** The latest search's result, and for how many more steps it is taken for the best. */
  #found: { readonly numSequences: number; readonly size: Size } | undefined;
  #foundLeft = 0;
  #numExplored = 0;
  /** Sums over the latest drafting steps, a sequence. */
  #cutTokens = 0;
  #cutExpected = 0;

  constructor(options: SizeOptions, costs: CostModel, acceptance: AcceptanceTable) {
    this.#options = options;
    this.#costs = costs;
    this.#acceptance = acceptance;
    this.#inUse = this.largest;
  }

  get largest(): TreeLimits {
    return limitsOf({ numNodes: this.#options.maxNodes, depth: this.#options.maxDepth });
  }

  plainRate(numSequences: number): number {
    return numSequences / this.#costs.plainMs(numSequences);
  }

  /** Of trees with these bounds: where trees are cut before they are verified, of the best part of them. */
  rateOf(numSequences: number, { numLookaheadNodes, maxDraftDepth: depth }: TreeLimits, hope = 0): number {
    const most = Math.min(numLookaheadNodes + 1, this.#mostNodes(numSequences));
    if (this.#options.draftsOnDevice) return this.#rate(numSequences, most, depth, hope);
    const best = Math.max(...sizesUpTo(most).map((numNodes) => this.#rate(numSequences, numNodes, depth, hope)));
    return best * this.#cutGain;
  }

  /** Of the best size. */
  bestRate(numSequences: number): number {
    return this.#search(numSequences, 0).rate;
  }

  /** The best size with the benefit of the doubt, or the one in use where that is about as good. */
  choose(numSequences: number): TreeLimits {
    const best = limitsOf(this.#searchNowAndThen(numSequences));
    const isPossible = this.#inUse.numLookaheadNodes < this.#mostNodes(numSequences);
    const rate = isPossible ? this.rateOf(numSequences, this.#inUse, HOPE) : 0;
    if (rate * BETTER < this.rateOf(numSequences, best, HOPE)) this.#inUse = best;
    return this.#inUse;
  }

  /** The size that may be the best while plain decoding pays, and the rate that it may have. */
  mostHoped(numSequences: number): { readonly limits: TreeLimits; readonly rate: number } {
    const limits = limitsOf(this.#search(numSequences, FIRST_HOPE));
    return { limits, rate: this.rateOf(numSequences, limits, FIRST_HOPE) };
  }

  /**
   * Another size to look at: the largest and the neighbours of the size in use take turns.
   * @param maxLossMs what it may lose, at most
   */
  explore(numSequences: number, maxLossMs: number): TreeLimits | undefined {
    const others = this.#neighbours(numSequences);
    const other = others[this.#numExplored % others.length] ?? this.largest;
    const { numLookaheadNodes, maxDraftDepth } = other;
    const lossShare = 1 - this.rateOf(numSequences, other) / this.rateOf(numSequences, this.#inUse);
    const shape = { numSequences, numNodes: numLookaheadNodes + 1, depth: maxDraftDepth };
    if (this.#costs.wholeMs(shape) * lossShare > maxLossMs) return undefined;
    this.#numExplored++;
    return other;
  }

  /** What cutting gains: tokens that were emitted, against what the best uncut trees would have in the same time. */
  learnCut({ numSequences, numEmitted, limits, stepMs }: ObservedStep): void {
    const expected = (stepMs * this.rateOf(numSequences, limits)) / this.#cutGain;
    const kept = 1 - 1 / CUT_WINDOW;
    this.#cutTokens = kept * this.#cutTokens + numEmitted / numSequences;
    this.#cutExpected = kept * this.#cutExpected + expected / numSequences;
  }

  get #cutGain(): number {
    return (this.#cutTokens + CUT_PRIOR) / (this.#cutExpected + CUT_PRIOR);
  }

  /** Nodes of a tree for which the step has rows, root included. */
  #mostNodes(numSequences: number): number {
    return Math.max(1, Math.min(this.#options.maxNodes, Math.floor(this.#options.tokenBudget / numSequences)));
  }

  /** @param hope how much better a size may be than it is thought to be, as long as it was hardly tried */
  #rate(numSequences: number, numNodes: number, depth: number, hope: number): number {
    const shape = { numSequences, numNodes, depth };
    const doubt = hope / (1 + this.#costs.numWholeObserved(shape) / NUM_TRIED);
    const ms = this.#costs.wholeMs(shape) / (1 + doubt);
    return (numSequences * (1 + this.#acceptance.expected(numNodes, depth))) / ms;
  }

  /** Every few steps, and when the load changes or what was found last is new. */
  #searchNowAndThen(numSequences: number): Size {
    this.#foundLeft--;
    if (this.#found === undefined || this.#found.numSequences !== numSequences || this.#foundLeft <= 0) {
      const size = this.#search(numSequences, HOPE);
      this.#found = { numSequences, size };
      const isTried = this.#costs.numWholeObserved({ numSequences, ...size }) >= NUM_TRIED;
      this.#foundLeft = isTried ? SEARCH_EVERY : 1;
    }
    return this.#found.size;
  }

  /** Where trees are cut later, only their depth is chosen here: it is what drafting costs. */
  #search(numSequences: number, hope: number): Size {
    const { maxDepth, draftsOnDevice, maxNodes } = this.#options;
    let best: Size = { numNodes: 2, depth: 1, rate: 0 };
    for (let depth = 1; depth <= maxDepth; depth++) {
      for (const numNodes of sizesUpTo(this.#mostNodes(numSequences))) {
        if (depth >= numNodes) continue;
        const rate = this.#rate(numSequences, numNodes, depth, hope);
        if (rate > best.rate) best = { numNodes: draftsOnDevice ? numNodes : maxNodes, depth, rate };
      }
    }
    return best;
  }

  #neighbours(numSequences: number): TreeLimits[] {
    const { numLookaheadNodes, maxDraftDepth: depth } = this.#inUse;
    const { draftsOnDevice, maxDepth, maxNodes } = this.#options;
    const all = sizesUpTo(this.#mostNodes(numSequences));
    const at = all.indexOf(Math.min(numLookaheadNodes + 1, this.#mostNodes(numSequences)));
    const beside = draftsOnDevice ? [all[at + 1], all[at - 1]] : [];
    const numNodes = draftsOnDevice ? numLookaheadNodes + 1 : maxNodes;
    const bounds = [
      ...beside.map((size) => ({ numLookaheadNodes: (size ?? 0) - 1, maxDraftDepth: depth })),
      ...[depth + 1, depth - 1].map((maxDraftDepth) => ({ numLookaheadNodes: numNodes - 1, maxDraftDepth })),
    ];
    const possible = bounds.filter(
      ({ numLookaheadNodes: most, maxDraftDepth }) => maxDraftDepth >= 1 && maxDraftDepth <= Math.min(maxDepth, most),
    );
    return [this.largest, ...possible];
  }
}

function limitsOf({ numNodes, depth }: Pick<Size, "numNodes" | "depth">): TreeLimits {
  return { numLookaheadNodes: numNodes - 1, maxDraftDepth: depth };
}
