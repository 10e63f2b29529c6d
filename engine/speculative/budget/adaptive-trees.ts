import type { TreeLimits } from "../../../scheduler/output.ts";
import type { DraftTree } from "../draft-tree.ts";
import { AcceptanceTable } from "./acceptance-table.ts";
import { Calibration } from "./calibration.ts";
import { CostModel, type PassCost } from "./cost-model.ts";
import { cutTrees, keepNodes } from "./cut-trees.ts";
import type { CutTree, ObservedStep, SpeculationState, TreePolicy } from "./tree-policy.ts";
import type { VerifiedDraft } from "./verified-draft.ts";

export interface AdaptiveOptions {
  /** Nodes of one tree at most, root included; at least 2. */
  readonly maxNodes: number;
  readonly maxDepth: number;
  /** Rows of a step. */
  readonly tokenBudget: number;
  /** T(M) as measured at start-up. */
  readonly passes: readonly PassCost[];
  /** Plain steps can run on the device without the host between them. */
  readonly plainOnDevice: boolean;
  /** So can steps that draft: then no tree is seen before it is verified, and all of a step have one size. */
  readonly draftsOnDevice: boolean;
  /** Rows that a sequence has in a draft pass. */
  readonly draftRows: number;
}

/** Size of the trees of a step, root included, and what is expected of it. */
interface Arm {
  readonly numNodes: number;
  readonly depth: number;
  /** Tokens a ms of the whole batch. */
  readonly rate: number;
}

const PLAIN: TreeLimits = { numLookaheadNodes: 0, maxDraftDepth: 0 };
/** Trees to learn from before anything is decided. */
const NUM_TO_LEARN = 16;
/** So much better another size must be to be worth the change. */
const BETTER = 1.01;
/** Trees of a size may be so much better than they are thought to be; half as much after so many steps with them. */
const HOPE = 0.06;
const NUM_TRIED = 8;
/** Drafting steps between two with trees of another size, at least. */
const EXPLORE_EVERY = 48;
/** Steps of a kind, with about as many sequences, that must have been seen before they are ruled out. */
const NUM_SEEN = 4;
/** Plain steps are looked at again after so many others at most, sooner as long as few were seen. */
const PLAIN_EVERY = 1024;
/** Steps that the gain of cutting is taken from, and tokens by which it is thought to be none. */
const CUT_WINDOW = 128;
const CUT_PRIOR = 16;
/** A level of a draft on the device takes about this share of a pass, before one was seen. */
const DRAFT_PRIOR = 0.3;
/** Trees of a step that are learned from at most, and steps between two searches for the best size. */
const SAMPLED_TREES = 6;
const SEARCH_EVERY = 6;
/** Steps and trees of a probe, at least. */
const PROBE_STEPS = 4;
const PROBE_TREES = 8;
/** Share of the time that may be lost to probes. */
const PROBE_SHARE = 0.004;
/** Of the first probe; later ones have less, as more is known. */
const FIRST_SHARE = 0.04;
/** A probe is thought to lose so many plain steps before one was made. */
const PROBE_LOSS = 12;
/** Drafting that takes less than this share of a plain step is taken for free. */
const FREE_SHARE = 0.02;
/** Plain steps in a row at most where drafting is free and nothing worth verifying was found. */
const MAX_BURST = 16;

/**
 * Speculates as much as pays: of all sizes of trees the one with the most expected tokens a second, by live acceptance and measured
 * costs, or none. While nothing is speculated a probe now and then keeps the estimates alive, within a fixed share of the
 * time. Where trees are seen before they are verified, one node budget cuts the trees of the whole batch (`cutTrees`).
 *
 * Drafting that costs next to nothing, as by look-up, is not decided on averages: every tree speaks for itself, and after trees
 * that were not worth verifying the next few steps are plain.
 */
export class AdaptiveTrees implements TreePolicy {
  readonly #options: AdaptiveOptions;
  readonly #costs: CostModel;
  readonly #acceptance: AcceptanceTable;
  readonly #calibration = new Calibration();
  #numSequences = 1;
  #limits: TreeLimits;
  /** Bounds that are thought best for drafting. */
  #inUse: TreeLimits;
  /** Steps since the latest plain one, and plain ones that are to come whatever pays. */
  #numSincePlain = 0;
  #plainLeft = 0;
  #numProbes = 1;
  /** Steps that the probe under way has left. */
  #probeLeft = 0;
  /** What the probe under way has lost so far, and what the latest lost in all, in ms. */
  #probeLossMs = 0;
  #lastProbeLossMs: number | undefined;
  /** Steps that drafted since another size was tried, and their time; and how often that was. */
  #numDrafting = 0;
  #draftingMs = 0;
  #numExplored = 0;
  #firstSampled = 0;
  /** The best size, and for how many more steps it is taken for that. */
  #best: { readonly numSequences: number; readonly arm: Arm } | undefined;
  #bestLeft = 0;
  /** Sums over the latest drafting steps, a sequence. */
  #cutTokens = 0;
  #cutExpected = 0;
  /** Time in plain steps since the latest probe. */
  #plainMs = 0;
  /** Plain steps to come while drafting is free, and how many they were the last time. */
  #burstLeft = 0;
  #burst = 0;

  constructor(options: AdaptiveOptions) {
    this.#options = options;
    this.#costs = new CostModel({ ...options, draftPrior: options.draftsOnDevice ? DRAFT_PRIOR : 0 });
    this.#acceptance = new AcceptanceTable(options.maxNodes, options.maxDepth);
    this.#limits = this.#largest;
    this.#inUse = this.#largest;
  }

  get state(): SpeculationState {
    const { error: calibrationError, reliability } = this.#calibration;
    return { limits: this.#limits, calibrationError, reliability };
  }

  limits(numSequences: number): TreeLimits {
    if (numSequences > 0 && numSequences !== this.#numSequences) {
      this.#numSequences = numSequences;
      this.#decide();
    }
    return this.#limits;
  }

  cut(trees: readonly DraftTree[], numRows: number): readonly CutTree[] {
    const calibrated = trees.map((tree) => this.#calibration.calibrate(tree));
    const costs = this.#costs;
    const rate = Math.max(this.#plainRate(), this.#isFree() ? 0 : this.#bestArm().rate);
    const { kept, gain } = cutTrees(calibrated, (numNodes) => costs.verifyMs(numRows + numNodes), rate);
    this.#judge(gain, rate);
    return trees.map((drafted, i) => {
      const nodes = kept[i] ?? new Set<number>();
      return { drafted, kept: nodes, tree: keepNodes(drafted, nodes) };
    });
  }

  observe(step: ObservedStep): void {
    for (const draft of this.#sample(step.drafts)) {
      this.#calibration.observe(draft);
      this.#acceptance.observe({ ...draft, tree: this.#calibration.calibrate(draft.tree) });
    }
    this.#numSequences = Math.max(1, step.numSequences);
    this.#learnCosts(step);
    this.#account(step);
    this.#decide();
  }

  /** A few trees of a step say enough: the host has better things to do. Others come first in each. */
  #sample(drafts: readonly VerifiedDraft[]): readonly VerifiedDraft[] {
    if (drafts.length <= SAMPLED_TREES) return drafts;
    this.#firstSampled = (this.#firstSampled + SAMPLED_TREES) % drafts.length;
    return [...drafts.slice(this.#firstSampled), ...drafts].slice(0, SAMPLED_TREES);
  }

  get #largest(): TreeLimits {
    return { numLookaheadNodes: this.#options.maxNodes - 1, maxDraftDepth: this.#options.maxDepth };
  }

  /** Nodes of a tree for which the step has rows, root included. */
  get #mostNodes(): number {
    return Math.max(1, Math.min(this.#options.maxNodes, Math.floor(this.#options.tokenBudget / this.#numSequences)));
  }

  #learnCosts(step: ObservedStep): void {
    const { numSequences, numRows, limits, onDevice, isSteady, stepMs, draftMs, drafts } = step;
    const { plainOnDevice, draftsOnDevice } = this.#options;
    if (!isSteady || numSequences === 0) return;
    if (limits.numLookaheadNodes === 0) {
      if (onDevice === plainOnDevice) this.#costs.observePlain(numSequences, stepMs);
    } else if (draftsOnDevice) {
      const numNodes = Math.round(numRows / numSequences);
      if (onDevice) this.#costs.observeWhole({ numSequences, numNodes, depth: limits.maxDraftDepth }, stepMs);
    } else {
      this.#learnCut(step);
      this.#costs.observeVerify(numRows, stepMs - draftMs);
      if (drafts.length > 0) this.#costs.observeDraft(numSequences, limits.maxDraftDepth, draftMs);
    }
  }

  /** What cutting gains: tokens that were emitted, against what the best uncut trees would have in the same time. */
  #learnCut({ numEmitted, limits, stepMs }: ObservedStep): void {
    const gain = (this.#cutTokens + CUT_PRIOR) / (this.#cutExpected + CUT_PRIOR);
    const expected = (stepMs * this.#rateOf(limits)) / gain;
    const kept = 1 - 1 / CUT_WINDOW;
    this.#cutTokens = kept * this.#cutTokens + numEmitted / this.#numSequences;
    this.#cutExpected = kept * this.#cutExpected + expected / this.#numSequences;
  }

  /** Time and losses of probes, and the lengths of bursts. */
  #account({ numEmitted, limits, stepMs }: ObservedStep): void {
    const isPlain = limits.numLookaheadNodes === 0;
    this.#numSincePlain = isPlain ? 0 : this.#numSincePlain + 1;
    this.#draftingMs += isPlain ? 0 : stepMs;
    this.#numDrafting += isPlain ? 0 : 1;
    if (isPlain) {
      this.#plainMs += stepMs;
      this.#plainLeft = Math.max(0, this.#plainLeft - 1);
      this.#burstLeft = Math.max(0, this.#burstLeft - 1);
    } else if (this.#probeLeft > 0) {
      this.#probeLossMs += stepMs - numEmitted / this.#plainRate();
      this.#probeLeft--;
      if (this.#probeLeft === 0) {
        this.#lastProbeLossMs = Math.max(0, this.#probeLossMs);
        this.#plainMs = 0;
      }
    }
  }

  #decide(): void {
    this.#limits = this.#isFree() ? this.#afterBurst() : this.#chosen();
  }

  /** Whether drafting costs so little that each step may see what it brings. */
  #isFree(): boolean {
    const { draftsOnDevice, maxDepth } = this.#options;
    const draftMs = this.#costs.draftMs(this.#numSequences, maxDepth);
    return !draftsOnDevice && draftMs < FREE_SHARE * this.#costs.plainMs(this.#numSequences);
  }

  #afterBurst(): TreeLimits {
    return this.#burstLeft > 0 ? PLAIN : this.#largest;
  }

  /** Plain steps on the device are faster than the host's: trees must make up for that, or the next steps are plain. */
  #judge(gain: number, rate: number): void {
    if (!this.#options.plainOnDevice) return;
    const hostMs = this.#costs.verifyMs(this.#numSequences) - this.#costs.plainMs(this.#numSequences);
    if (gain > rate * hostMs && gain > 0) this.#burst = 0;
    else this.#burst = Math.min(MAX_BURST, Math.max(1, 2 * this.#burst));
    this.#burstLeft = this.#burst;
  }

  #chosen(): TreeLimits {
    if (this.#costs.numPlainObserved(this.#numSequences) < NUM_SEEN) return PLAIN;
    const plainEvery = Math.min(PLAIN_EVERY, 2 ** (1 + this.#costs.numPlainObserved(this.#numSequences)));
    if (this.#numSincePlain > plainEvery) this.#plainLeft = NUM_SEEN;
    if (this.#plainLeft > 0) return PLAIN;
    const wanted = this.#worthwhile();
    if (this.#acceptance.numTrees < NUM_TO_LEARN || this.#probeLeft > 0) return wanted;
    const rate = this.#rateOf(wanted);
    const isPlain = this.#limits.numLookaheadNodes === 0;
    if (rate > this.#plainRate() * (isPlain ? BETTER : 1)) return this.#exploration(rate) ?? wanted;
    return this.#isProbeDue() ? this.#probe(wanted) : PLAIN;
  }

  /** The best size, or the one in use where that is about as good. */
  #worthwhile(): TreeLimits {
    const best = this.#hopefulArm();
    const isGood =
      this.#inUse.numLookaheadNodes < this.#mostNodes && this.#rateOf(this.#inUse, HOPE) * BETTER >= best.rate;
    if (!isGood) this.#inUse = { numLookaheadNodes: best.numNodes - 1, maxDraftDepth: best.depth };
    return this.#inUse;
  }

  /**
   * One step with trees of another size, lest its worth is forgotten or never known: the largest and the neighbours of the size in
   * use take turns, as often as the time that is lost allows.
   */
  #exploration(rate: number): TreeLimits | undefined {
    if (this.#numDrafting < EXPLORE_EVERY) return undefined;
    const others = this.#neighbours();
    const other = others[this.#numExplored % others.length] ?? this.#largest;
    const { numLookaheadNodes, maxDraftDepth } = other;
    const lossRate = 1 - this.#rateOf(other) / rate;
    const shape = { numSequences: this.#numSequences, numNodes: numLookaheadNodes + 1, depth: maxDraftDepth };
    if (this.#costs.wholeMs(shape) * lossRate > PROBE_SHARE * this.#draftingMs) return undefined;
    [this.#numDrafting, this.#draftingMs, this.#numExplored] = [0, 0, this.#numExplored + 1];
    return other;
  }

  #neighbours(): TreeLimits[] {
    const { numLookaheadNodes, maxDraftDepth: depth } = this.#inUse;
    const { draftsOnDevice, maxDepth, maxNodes } = this.#options;
    const all = sizes(this.#mostNodes);
    const at = all.indexOf(Math.min(numLookaheadNodes + 1, this.#mostNodes));
    const beside = draftsOnDevice ? [all[at + 1], all[at - 1]] : [];
    const numNodes = draftsOnDevice ? numLookaheadNodes + 1 : maxNodes;
    const bounds = [
      ...beside.map((size) => ({ numLookaheadNodes: (size ?? 0) - 1, maxDraftDepth: depth })),
      ...[depth + 1, depth - 1].map((maxDraftDepth) => ({ numLookaheadNodes: numNodes - 1, maxDraftDepth })),
    ];
    const possible = bounds.filter(
      ({ numLookaheadNodes: most, maxDraftDepth }) => maxDraftDepth >= 1 && maxDraftDepth <= Math.min(maxDepth, most),
    );
    return [this.#largest, ...possible];
  }

  #isProbeDue(): boolean {
    if (this.#costs.numDraftObserved(this.#numSequences) < NUM_SEEN) return true;
    const lossMs = this.#lastProbeLossMs ?? PROBE_LOSS * this.#costs.plainMs(this.#numSequences);
    return this.#plainMs * Math.max(PROBE_SHARE, FIRST_SHARE / this.#numProbes) > lossMs;
  }

  #probe(wanted: TreeLimits): TreeLimits {
    this.#numProbes++;
    this.#probeLeft = Math.max(PROBE_STEPS, Math.ceil(PROBE_TREES / this.#numSequences));
    this.#probeLossMs = 0;
    this.#acceptance.age();
    return wanted;
  }

  #plainRate(): number {
    return this.#numSequences / this.#costs.plainMs(this.#numSequences);
  }

  /** Of trees with these bounds: where trees are cut before they are verified, of the best part of them. */
  #rateOf({ numLookaheadNodes, maxDraftDepth: depth }: TreeLimits, hope = 0): number {
    const most = Math.min(numLookaheadNodes + 1, this.#mostNodes);
    if (this.#options.draftsOnDevice) return this.#rate(most, depth, hope);
    const best = Math.max(...sizes(most).map((numNodes) => this.#rate(numNodes, depth, hope)));
    return best * ((this.#cutTokens + CUT_PRIOR) / (this.#cutExpected + CUT_PRIOR));
  }

  /** @param hope how much better a size may be than it is thought to be, as long as it was hardly tried */
  #rate(numNodes: number, depth: number, hope = 0): number {
    const numSequences = this.#numSequences;
    const shape = { numSequences, numNodes, depth };
    const doubt = hope / (1 + this.#costs.numWholeObserved(shape) / NUM_TRIED);
    const ms = this.#costs.wholeMs(shape) / (1 + doubt);
    return (numSequences * (1 + this.#acceptance.expected(numNodes, depth))) / ms;
  }

  /** The best size with the benefit of the doubt; searched for every few steps, and when the load changes or it is new. */
  #hopefulArm(): Arm {
    const numSequences = this.#numSequences;
    this.#bestLeft--;
    if (this.#best === undefined || this.#best.numSequences !== numSequences || this.#bestLeft <= 0) {
      this.#best = { numSequences, arm: this.#bestArm(HOPE) };
      const isTried = this.#costs.numWholeObserved({ numSequences, ...this.#best.arm }) >= NUM_TRIED;
      this.#bestLeft = isTried ? SEARCH_EVERY : 1;
    }
    const { numNodes, depth } = this.#best.arm;
    const limits = { numLookaheadNodes: numNodes - 1, maxDraftDepth: depth };
    return { numNodes, depth, rate: this.#rateOf(limits, HOPE) };
  }

  /** Where trees are cut later, only their depth is chosen here: it is what drafting costs. */
  #bestArm(hope = 0): Arm {
    const { maxDepth, draftsOnDevice, maxNodes } = this.#options;
    let best: Arm = { numNodes: 2, depth: 1, rate: 0 };
    for (let depth = 1; depth <= maxDepth; depth++) {
      for (const numNodes of sizes(this.#mostNodes)) {
        if (depth >= numNodes) continue;
        const rate = this.#rate(numNodes, depth, hope);
        if (rate > best.rate) best = { numNodes: draftsOnDevice ? numNodes : maxNodes, depth, rate };
      }
    }
    return best;
  }
}

/** Numbers of nodes that are considered: 2, 3, 4, 6, 8, 12, 16, … and the largest. */
function sizes(most: number): number[] {
  const result: number[] = [];
  for (let size = 2; size < most; size *= 2)
    result.push(...[size, 1.5 * size].filter((one) => one < most && Number.isInteger(one)));
  return most < 2 ? [] : [...result, most];
}
