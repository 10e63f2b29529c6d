import { NO_TREES, type TreeLimits } from "../../../scheduler/output.ts";
import type { DraftTree } from "../draft-tree.ts";
import { AcceptanceTable } from "./acceptance-table.ts";
import { Bursts } from "./bursts.ts";
import { Calibration } from "./calibration.ts";
import { CostModel, type PassCost } from "./cost-model.ts";
import { cutTrees, keepNodes } from "./cut-trees.ts";
import { DraftSample } from "./draft-sample.ts";
import { loadClass } from "./load-class.ts";
import { lossShare } from "./loss-share.ts";
import { Probes } from "./probes.ts";
import { RestartLoss } from "./restart-loss.ts";
import { SizeChoice, type SizeOptions } from "./size-choice.ts";
import { StepCosts } from "./step-costs.ts";
import { type CutTree, type ObservedStep, type SpeculationState, stateOf, type TreePolicy } from "./tree-policy.ts";
import { judged } from "./verified-draft.ts";

export interface AdaptiveOptions extends SizeOptions {
  /** T(M) as measured at start-up. */
  readonly passes: readonly PassCost[];
  /** Plain steps can run on the device without the host between them. */
  readonly plainOnDevice: boolean;
  /** Rows that a sequence has in a draft pass. */
  readonly draftRows: number;
}

/** Trees to learn from before anything is decided. */
const NUM_TO_LEARN = 16;
/** So much better than plain decoding trees must be for drafting to begin again. */
const BETTER = 1.01;
/** Drafting steps between two trials of another size, at least. */
const TRY_EVERY = 48;
/** Steps of a kind, with about as many sequences, that must have been seen before they are ruled out. */
const NUM_SEEN = 4;
/** Plain steps are looked at again after so many others at most, sooner as long as few were seen. */
const PLAIN_EVERY = 1024;
/** Steps of a trial: on the device the first ones do not count, and each change costs time. */
const TRIAL_STEPS = { device: 12, host: 1 } as const;
/** Steps of a probe, and trees at least. */
const PROBE_STEPS = { device: 16, host: 4 } as const;
const PROBE_TREES = 8;
/** Steps in a row that show what such steps take, those included that do not count on the device. */
const TELLING_STEPS = NUM_SEEN + 2;
/** Plain steps that a probe may lose: after that it is given up. */
const PROBE_LOSS = 12;
/** So much better something else must be for a run with trees to end before it has to, and for the first probe of a load to be of the smallest trees. */
const CLEARLY = 1.25;
/** Steps on the device, or ms, before what runs there is given up for something better: prompts stop it anyway, now and then. */
const RUN_STEPS = 64;
const RUN_MS = 2000;
/** Trees of a root and one node. */
const SMALLEST: TreeLimits = { numLookaheadNodes: 1, maxDraftDepth: 1 };
/** Drafting that takes less than this share of a plain step is taken for free. */
const FREE_SHARE = 0.02;

/** Steps of a kind that are made whatever pays, to learn what they are worth. */
interface Trial {
  readonly limits: TreeLimits;
  /** log₂ of the load that it is for. */
  readonly load: number;
  /** Steps to come. */
  left: number;
  /** Trees while plain decoding pays: what it has lost so far is added up here, in ms. */
  probeLossMs: number | undefined;
}

/**
 * Speculates as much as pays: of all sizes of trees the one with the most expected tokens a second, by live acceptance and measured
 * costs, or none. While nothing is speculated a probe now and then keeps the estimates alive, within a fixed share of the
 * time. Where trees are seen before they are verified, one node budget cuts the trees of the whole batch (`cutTrees`).
 *
 * On the device steps follow each other without the host, and every change of what they do costs time: there it is decided when
 * they have to stop for something else, or after many of them.
 *
 * Drafting that costs next to nothing, as by look-up, is not decided on averages: every tree speaks for itself, and after trees
 * that were not worth verifying the next few steps are plain.
 */
export class AdaptiveTrees implements TreePolicy {
  readonly #options: AdaptiveOptions;
  readonly #costs: CostModel;
  readonly #stepCosts: StepCosts;
  readonly #acceptance: AcceptanceTable;
  readonly #sizes: SizeChoice;
  readonly #restarts = new RestartLoss();
  readonly #calibration = new Calibration();
  readonly #sample = new DraftSample();
  #numSequences = 1;
  #limits: TreeLimits;
  #trial: Trial | undefined;
  /** A trial ended since it was decided. */
  #trialIsOver = false;
  /** Steps on the device since it was decided, and their time. */
  #runSteps = 0;
  #runMs = 0;
  /** Steps since the latest plain one that tells what such steps take. */
  #numSincePlain = 0;
  readonly #probes = new Probes();
  /** Trials of other sizes, by load. */
  readonly #trialCounts = new Map<number, number>();
  /** Steps that drafted since another size was tried, and their time. */
  #numDrafting = 0;
  #draftingMs = 0;
  /** Used while drafting is free. */
  readonly #bursts = new Bursts();

  constructor(options: AdaptiveOptions) {
    this.#options = options;
    this.#costs = new CostModel(options);
    this.#acceptance = new AcceptanceTable(options.maxNodes, options.maxDepth);
    this.#sizes = new SizeChoice(options, this.#costs, this.#acceptance);
    this.#stepCosts = new StepCosts(options, this.#costs, this.#sizes);
    this.#limits = this.#sizes.largest;
  }

  get state(): SpeculationState {
    return stateOf(this.#limits, this.#calibration);
  }

  limits(numSequences: number): TreeLimits {
    if (numSequences > 0) {
      this.#numSequences = numSequences;
      [this.#runSteps, this.#runMs] = [0, 0];
      this.#trialIsOver = false;
      if (this.#trial?.load !== this.#loadClass) this.#trial = undefined;
      this.#limits = this.#decide();
    }
    return this.#limits;
  }

  goesOn(limits: TreeLimits): boolean {
    if (this.#options.draftsOnDevice && !this.#mayStop(limits)) return true;
    const decided = this.#decide();
    return decided.numLookaheadNodes === limits.numLookaheadNodes && decided.maxDraftDepth === limits.maxDraftDepth;
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
    for (const draft of this.#sample.of(step.drafts, step.stepMs).map(judged)) {
      this.#acceptance.observe({ ...draft, tree: this.#calibration.observe(draft) });
    }
    const isSteady = this.#stepCosts.observe(step);
    if (step.numSequences > 0) this.#restarts.observe({ ...step, isSteady }, this.#steadyRate(step));
    this.#account(step);
  }

  #mayStop(limits: TreeLimits): boolean {
    const isLong = this.#runSteps >= RUN_STEPS || this.#runMs >= RUN_MS;
    return isLong || this.#trialIsOver || this.#isClearlyWorse(limits);
  }

  /** Whether the trees of a run on the device have shown that they lose. A trial ends by its own rules. */
  #isClearlyWorse(limits: TreeLimits): boolean {
    if (this.#trial || limits.numLookaheadNodes === 0 || this.#runSteps < TELLING_STEPS) return false;
    return this.#plainRate > CLEARLY * this.#sizes.rateOf(this.#numSequences, limits);
  }

  get #plainRate(): number {
    return this.#sizes.plainRate(this.#numSequences);
  }

  #steadyRate({ numSequences, limits }: ObservedStep): number {
    return limits.numLookaheadNodes === 0
      ? this.#sizes.plainRate(numSequences)
      : this.#sizes.rateOf(numSequences, limits);
  }

  /** Time, trials and their losses, and the lengths of bursts. */
  #account({ numEmitted, limits, onDevice, isSteady, stepMs }: ObservedStep): void {
    const isPlain = limits.numLookaheadNodes === 0;
    this.#runSteps += onDevice ? 1 : 0;
    this.#runMs += onDevice ? stepMs : 0;
    this.#numSincePlain = isPlain && isSteady ? 0 : this.#numSincePlain + 1;
    this.#draftingMs += isPlain ? 0 : stepMs;
    this.#numDrafting += isPlain ? 0 : 1;
    if (isPlain) {
      this.#probes.addPlain(stepMs);
      this.#bursts.endPlainStep();
    }
    const trial = this.#trial;
    if (trial === undefined) return;
    if (trial.probeLossMs !== undefined) trial.probeLossMs += stepMs - numEmitted / this.#plainRate;
    if (limits.numLookaheadNodes === trial.limits.numLookaheadNodes) trial.left--;
    const isTelling = trial.left <= 0 || this.#runSteps >= TELLING_STEPS;
    const isLost = isTelling && this.#isLost(trial);
    if (trial.left > 0 && !isLost) return;
    this.#trial = undefined;
    this.#trialIsOver = true;
    if (trial.probeLossMs !== undefined) this.#probes.end(this.#loadClass, trial.probeLossMs, isLost);
  }

  /** Whether a trial has lost what it may, or shows that its size is not worth the rest. */
  #isLost({ limits, probeLossMs }: Trial): boolean {
    if (probeLossMs !== undefined) return probeLossMs > this.#mostLossMs;
    if (limits.numLookaheadNodes === 0) return false;
    return this.#sizes.bestRate(this.#numSequences) > CLEARLY * this.#sizes.rateOf(this.#numSequences, limits);
  }

  #decide(): TreeLimits {
    if (!this.#isFree()) return this.#chosen();
    return this.#bursts.isOn ? NO_TREES : this.#sizes.largest;
  }

  /** Whether drafting costs so little that each step may see what it brings. */
  #isFree(): boolean {
    const { draftsOnDevice, maxDepth } = this.#options;
    const draftMs = this.#costs.draftMs(this.#numSequences, maxDepth);
    return !draftsOnDevice && draftMs < FREE_SHARE * this.#costs.plainMs(this.#numSequences);
  }

  /** Plain steps on the device are faster than the host's: trees must make up for that, or the next steps are plain. */
  #judge(gain: number, rate: number): void {
    if (!this.#options.plainOnDevice) return;
    const hostMs = this.#costs.verifyMs(this.#numSequences) - this.#costs.plainMs(this.#numSequences);
    this.#bursts.judge(gain > rate * hostMs && gain > 0);
  }

  #chosen(): TreeLimits {
    if (this.#trial) return this.#trial.limits;
    const numPlain = this.#costs.numPlainObserved(this.#numSequences);
    if (numPlain < NUM_SEEN) return NO_TREES;
    if (this.#numSincePlain > Math.min(PLAIN_EVERY, 2 ** (1 + numPlain))) return this.#try(NO_TREES, TELLING_STEPS);
    const wanted = this.#sizes.choose(this.#numSequences);
    const isPlain = this.#limits.numLookaheadNodes === 0;
    const draftingMs = this.#tokenMs(this.#sizes.rateOf(this.#numSequences, wanted), true);
    const plainMs = this.#tokenMs(this.#plainRate, false);
    if (draftingMs * (isPlain ? BETTER : 1) < plainMs) return this.#otherSize() ?? wanted;
    const hoped = this.#sizes.mostHoped(this.#numSequences);
    if (this.#tokenMs(hoped.rate, true) * BETTER < plainMs) return this.#try(hoped.limits, this.#trialSteps);
    const isUnseen = this.#costs.numDraftObserved(this.#numSequences) < NUM_SEEN;
    const isClose = draftingMs < CLEARLY * plainMs;
    // What other loads and sizes have shown may be far off here: the smallest trees tell, and can lose the least.
    if (isUnseen && !isClose && this.#probes.isFirst(this.#loadClass)) return this.#probe(SMALLEST);
    const isUnknown = this.#acceptance.numTrees < NUM_TO_LEARN;
    const isDue = this.#probes.isDue(this.#loadClass, isClose && isUnseen, this.#mostLossMs);
    return isUnknown || isDue ? this.#probe(wanted) : NO_TREES;
  }

  /** What a token takes in all. */
  #tokenMs(steadyRate: number, isDrafting: boolean): number {
    return 1 / steadyRate + this.#restarts.msPerToken(this.#numSequences, isDrafting);
  }

  /** Trees of another size for a while, lest its worth is forgotten or never known, as often as the time it loses allows. */
  #otherSize(): TreeLimits | undefined {
    if (this.#numDrafting < TRY_EVERY) return undefined;
    const numSteps = this.#trialSteps;
    const count = this.#trialCounts.get(this.#loadClass) ?? 0;
    const other = this.#sizes.explore(this.#numSequences, (lossShare(count) * this.#draftingMs) / numSteps);
    if (other === undefined) return undefined;
    this.#trialCounts.set(this.#loadClass, count + 1);
    [this.#numDrafting, this.#draftingMs] = [0, 0];
    return this.#try(other, numSteps);
  }

  get #trialSteps(): number {
    return TRIAL_STEPS[this.#options.draftsOnDevice ? "device" : "host"];
  }

  get #loadClass(): number {
    return loadClass(this.#numSequences);
  }

  /** Of a probe, in ms. */
  get #mostLossMs(): number {
    return PROBE_LOSS * this.#costs.plainMs(this.#numSequences);
  }

  #probe(wanted: TreeLimits): TreeLimits {
    this.#acceptance.age();
    const numSteps = PROBE_STEPS[this.#options.draftsOnDevice ? "device" : "host"];
    return this.#try(wanted, Math.max(numSteps, Math.ceil(PROBE_TREES / this.#numSequences)), 0);
  }

  #try(limits: TreeLimits, left: number, probeLossMs?: number): TreeLimits {
    this.#trial = { limits, load: this.#loadClass, left, probeLossMs };
    return limits;
  }
}
