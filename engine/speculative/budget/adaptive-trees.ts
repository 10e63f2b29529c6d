import type { TreeLimits } from "../../../scheduler/output.ts";
import type { DraftTree } from "../draft-tree.ts";
import { AcceptanceTable } from "./acceptance-table.ts";
import { Calibration } from "./calibration.ts";
import { CostModel, type PassCost } from "./cost-model.ts";
import { cutTrees, keepNodes } from "./cut-trees.ts";
import { DraftSample } from "./draft-sample.ts";
import { SizeChoice, type SizeOptions } from "./size-choice.ts";
import { type CutTree, type ObservedStep, type SpeculationState, stateOf, type TreePolicy } from "./tree-policy.ts";

export interface AdaptiveOptions extends SizeOptions {
  /** T(M) as measured at start-up. */
  readonly passes: readonly PassCost[];
  /** Plain steps can run on the device without the host between them. */
  readonly plainOnDevice: boolean;
  /** Rows that a sequence has in a draft pass. */
  readonly draftRows: number;
}

const PLAIN: TreeLimits = { numLookaheadNodes: 0, maxDraftDepth: 0 };
/** Trees to learn from before anything is decided. */
const NUM_TO_LEARN = 16;
/** So much better than plain decoding trees must be for drafting to begin again. */
const BETTER = 1.01;
/** Drafting steps between two with trees of another size, at least. */
const EXPLORE_EVERY = 48;
/** Steps of a kind, with about as many sequences, that must have been seen before they are ruled out. */
const NUM_SEEN = 4;
/** Plain steps are looked at again after so many others at most, sooner as long as few were seen. */
const PLAIN_EVERY = 1024;
/** A level of a draft on the device takes about this share of a pass, before one was seen. */
const DRAFT_PRIOR = 0.3;
/** Probes at a load at which drafting was not seen yet, whatever they lose. */
const NUM_FIRST_PROBES = 3;
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
  readonly #sizes: SizeChoice;
  readonly #calibration = new Calibration();
  #numSequences = 1;
  #limits: TreeLimits;
  /** Steps since the latest plain one, and plain ones that are to come whatever pays. */
  #numSincePlain = 0;
  #plainLeft = 0;
  #numProbes = 1;
  /** Steps that the probe under way has left. */
  #probeLeft = 0;
  /** What the probe under way has lost so far, and what the latest lost in all, in ms. */
  #probeLossMs = 0;
  #lastProbeLossMs: number | undefined;
  /** Steps that drafted since another size was tried, and their time. */
  #numDrafting = 0;
  #draftingMs = 0;
  readonly #sample = new DraftSample();
  /** By log₂ of the load. */
  readonly #probesByLoad = new Map<number, number>();
  /** Time in plain steps since the latest probe. */
  #plainMs = 0;
  /** Plain steps to come while drafting is free, and how many they were the last time. */
  #burstLeft = 0;
  #burst = 0;

  constructor(options: AdaptiveOptions) {
    this.#options = options;
    this.#costs = new CostModel({ ...options, draftPrior: options.draftsOnDevice ? DRAFT_PRIOR : 0 });
    this.#acceptance = new AcceptanceTable(options.maxNodes, options.maxDepth);
    this.#sizes = new SizeChoice(options, this.#costs, this.#acceptance);
    this.#limits = this.#sizes.largest;
  }

  get state(): SpeculationState {
    return stateOf(this.#limits, this.#calibration);
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
    const rate = Math.max(this.#plainRate, this.#isFree() ? 0 : this.#sizes.bestRate(this.#numSequences));
    const { kept, gain } = cutTrees(calibrated, (numNodes) => costs.verifyMs(numRows + numNodes), rate);
    this.#judge(gain, rate);
    return trees.map((drafted, i) => {
      const nodes = kept[i] ?? new Set<number>();
      return { drafted, kept: nodes, tree: keepNodes(drafted, nodes) };
    });
  }

  observe(step: ObservedStep): void {
    for (const draft of this.#sample.of(step.drafts)) {
      this.#calibration.observe(draft);
      this.#acceptance.observe({ ...draft, tree: this.#calibration.calibrate(draft.tree) });
    }
    this.#numSequences = Math.max(1, step.numSequences);
    this.#learnCosts(step);
    this.#account(step);
    this.#decide();
  }

  get #plainRate(): number {
    return this.#sizes.plainRate(this.#numSequences);
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
      this.#sizes.learnCut(step);
      this.#costs.observeVerify(numRows, stepMs - draftMs);
      if (drafts.length > 0) this.#costs.observeDraft(numSequences, limits.maxDraftDepth, draftMs);
    }
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
      this.#probeLossMs += stepMs - numEmitted / this.#plainRate;
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
    return this.#burstLeft > 0 ? PLAIN : this.#sizes.largest;
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
    const wanted = this.#sizes.choose(this.#numSequences);
    if (this.#acceptance.numTrees < NUM_TO_LEARN || this.#probeLeft > 0) return wanted;
    const rate = this.#sizes.rateOf(this.#numSequences, wanted);
    const isPlain = this.#limits.numLookaheadNodes === 0;
    if (rate > this.#plainRate * (isPlain ? BETTER : 1)) return this.#exploration() ?? wanted;
    return this.#isProbeDue() ? this.#probe(wanted) : PLAIN;
  }

  /** One step with trees of another size, lest its worth is forgotten or never known, as often as the time it loses allows. */
  #exploration(): TreeLimits | undefined {
    if (this.#numDrafting < EXPLORE_EVERY) return undefined;
    const other = this.#sizes.explore(this.#numSequences, PROBE_SHARE * this.#draftingMs);
    if (other !== undefined) [this.#numDrafting, this.#draftingMs] = [0, 0];
    return other;
  }

  get #loadClass(): number {
    return Math.round(Math.log2(this.#numSequences));
  }

  #isProbeDue(): boolean {
    const isUnseen = this.#costs.numDraftObserved(this.#numSequences) < NUM_SEEN;
    if (isUnseen && (this.#probesByLoad.get(this.#loadClass) ?? 0) < NUM_FIRST_PROBES) return true;
    const lossMs = this.#lastProbeLossMs ?? PROBE_LOSS * this.#costs.plainMs(this.#numSequences);
    return this.#plainMs * Math.max(PROBE_SHARE, FIRST_SHARE / this.#numProbes) > lossMs;
  }

  #probe(wanted: TreeLimits): TreeLimits {
    this.#numProbes++;
    this.#probesByLoad.set(this.#loadClass, (this.#probesByLoad.get(this.#loadClass) ?? 0) + 1);
    this.#probeLeft = Math.max(PROBE_STEPS, Math.ceil(PROBE_TREES / this.#numSequences));
    this.#probeLossMs = 0;
    this.#acceptance.age();
    return wanted;
  }
}
