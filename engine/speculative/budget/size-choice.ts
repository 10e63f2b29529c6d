import type { TreeLimits } from "../../../scheduler/output.ts";
import type { AcceptanceTable } from "./acceptance-table.ts";
import type { CostModel, StepShape } from "./cost-model.ts";
import { sizesUpTo } from "./sizes.ts";
import type { ObservedStep } from "./tree-policy.ts";

export interface SizeOptions {
  /** Nodes of one tree at most, root included; at least 2. */
  readonly maxNodes: number;
  readonly maxDepth: number;
  /** Rows of a step. */
  readonly tokenBudget: number;
  /** Steps draft and verify on the device: then no tree is seen before it is verified, and trees have one size or share their rows. */
  readonly draftsOnDevice: boolean;
}

/** What is expected of a step, with trees of these bounds or none. */
export interface Forecast {
  readonly limits: TreeLimits;
  /** Tokens of the batch a ms. */
  readonly rate: number;
  readonly stepMs: number;
  /** Draft tokens of one sequence that are accepted in it. */
  readonly numAccepted: number;
}

/** How well a rate is known beside another. */
export interface Doubt {
  /** Of the log of their ratio, as far as a look at the one can tell. */
  readonly variance: number;
  /** Of what a look tells. */
  readonly noise: number;
}

/** Steps that the gain of cutting is taken from, and tokens by which it is thought to be none. */
const CUT_WINDOW = 128;
const CUT_PRIOR = 16;
/** How far off that may be, as a standard deviation in log ratio. */
const CUT_SPREAD = 0.1;

/** Expected tokens a ms of plain decoding and of trees of every size, and how sure that is. */
export class SizeChoice {
  readonly #options: SizeOptions;
  readonly #costs: CostModel;
  readonly #acceptance: AcceptanceTable;
  /** Sums over the latest drafting steps, a sequence. */
  #cutTokens = 0;
  #cutExpected = 0;

  constructor(options: SizeOptions, costs: CostModel, acceptance: AcceptanceTable) {
    this.#options = options;
    this.#costs = costs;
    this.#acceptance = acceptance;
  }

  get largest(): TreeLimits {
    return { numLookaheadNodes: this.#options.maxNodes - 1, maxDraftDepth: this.#options.maxDepth };
  }

  /**
   * Of all bounds that trees may have: of each number of nodes and levels those by which trees share their rows, or have their own,
   * whichever is expected to be faster. Where trees are cut later, only their depth is chosen: it is what drafting costs.
   */
  all(numSequences: number): Forecast[] {
    const { maxDepth, maxNodes, draftsOnDevice } = this.#options;
    const sizes = draftsOnDevice ? sizesUpTo(this.#mostNodes(numSequences)) : [maxNodes];
    return Array.from({ length: maxDepth }, (_, i) => i + 1).flatMap((depth) =>
      sizes.flatMap((numNodes) => this.#ofSize(numSequences, numNodes, depth)),
    );
  }

  /** Of trees with these bounds, or of plain decoding: where trees are cut before they are verified, of the best part of them. */
  rateOf(numSequences: number, limits: TreeLimits): number {
    return this.forecast(numSequences, limits).rate;
  }

  /** Where trees are cut before they are verified, the time is that of whole ones. */
  forecast(numSequences: number, limits: TreeLimits): Forecast {
    const shape = this.#shapeOf(numSequences, limits);
    if (shape === undefined) {
      const stepMs = this.#costs.plainMs(numSequences);
      return { limits, rate: numSequences / stepMs, stepMs, numAccepted: 0 };
    }
    const whole = this.#whole(shape);
    if (this.#options.draftsOnDevice) return { limits, ...whole };
    const parts = sizesUpTo(shape.numNodes).map((numNodes) => this.#whole({ ...shape, numNodes }));
    const best = parts.reduce((most, part) => (part.rate > most.rate ? part : most), whole);
    return { limits, rate: best.rate * this.#cutGain, stepMs: whole.stepMs, numAccepted: best.numAccepted };
  }

  /** Of the best trees. */
  bestRate(numSequences: number): number {
    return Math.max(0, ...this.all(numSequences).map(({ rate }) => rate));
  }

  /** Of the ratio of one's rate to the other's. @param numSteps of a look at the one */
  doubt(numSequences: number, one: TreeLimits, other: TreeLimits, numSteps: number): Doubt {
    const [shape, otherShape] = [this.#shapeOf(numSequences, one), this.#shapeOf(numSequences, other)];
    const noise = this.#costs.noise(numSequences, numSteps);
    const variance = this.#costs.variance(numSequences, shape, otherShape);
    if (shape === undefined) return { variance, noise };
    const accepted = this.#acceptedShare(shape) - (otherShape ? this.#acceptedShare(otherShape) : 0);
    return {
      variance: variance + accepted ** 2 * this.#acceptance.variance + this.#cutVariance,
      noise: noise + accepted ** 2 * this.#acceptance.noise(numSteps * numSequences),
    };
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

  get #cutVariance(): number {
    return this.#options.draftsOnDevice ? 0 : (CUT_SPREAD ** 2 * CUT_PRIOR) / (CUT_PRIOR + this.#cutTokens);
  }

  /** Trees that share their rows may be a level deeper than if each had its own: the surest ones are, and more levels hardly gain. */
  #ofSize(numSequences: number, numNodes: number, maxDraftDepth: number): Forecast[] {
    const { maxNodes, draftsOnDevice } = this.#options;
    const limits = { numLookaheadNodes: numNodes - 1, maxDraftDepth };
    const mayShare = draftsOnDevice && numSequences > 1 && maxDraftDepth <= numNodes && numNodes < maxNodes;
    const own = maxDraftDepth < numNodes ? [this.forecast(numSequences, limits)] : [];
    if (!mayShare) return own;
    const shared = this.forecast(numSequences, { ...limits, mostLookaheadNodes: maxNodes - 1 });
    return own.every(({ rate }) => rate < shared.rate) ? [shared] : own;
  }

  /** Nodes of a tree for which the step has rows, root included. */
  #mostNodes(numSequences: number): number {
    return Math.max(1, Math.min(this.#options.maxNodes, Math.floor(this.#options.tokenBudget / numSequences)));
  }

  #whole(shape: StepShape): Omit<Forecast, "limits"> {
    const [stepMs, numAccepted] = [this.#costs.wholeMs(shape), this.#accepted(shape)];
    return { rate: (shape.numSequences * (1 + numAccepted)) / stepMs, stepMs, numAccepted };
  }

  /** By one tree, of those of a step. */
  #accepted({ numSequences, numNodes, depth, sharesRows }: StepShape): number {
    return this.#acceptance.expected(numNodes, depth, sharesRows ? numSequences : 1);
  }

  /** Undefined for plain decoding. */
  #shapeOf(
    numSequences: number,
    { numLookaheadNodes, maxDraftDepth: depth, mostLookaheadNodes }: TreeLimits,
  ): StepShape | undefined {
    if (numLookaheadNodes === 0) return undefined;
    const numNodes = Math.min(numLookaheadNodes + 1, this.#mostNodes(numSequences));
    return { numSequences, numNodes, depth, sharesRows: mostLookaheadNodes !== undefined };
  }

  /** By how much the tokens of a step rise, in log ratio, when as many drafts more are accepted as a ratio of 1 says. */
  #acceptedShare(shape: StepShape): number {
    const accepted = this.#accepted(shape);
    return Math.max(1, accepted) / (1 + accepted);
  }
}
