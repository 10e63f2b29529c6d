import { isPlain, NO_TREES, type TreeLimits } from "../../../scheduler/output.ts";
import type { DraftTree } from "../draft-tree.ts";
import { AcceptanceTable } from "./acceptance-table.ts";
import { Bursts } from "./bursts.ts";
import { Calibration } from "./calibration.ts";
import { CatchUpCost } from "./catch-up-cost.ts";
import type { CostModel } from "./cost-model.ts";
import { cutTrees, keepNodes } from "./cut-trees.ts";
import { DeviceRun } from "./device-run.ts";
import { DeviceTimes } from "./device-times.ts";
import { DraftSample } from "./draft-sample.ts";
import { EndLoss } from "./end-loss.ts";
import { HostTimes } from "./host-times.ts";
import { loadClass } from "./load-class.ts";
import { Looks } from "./looks.ts";
import { type PassTable, PassTimes } from "./pass-times.ts";
import { RestartLoss } from "./restart-loss.ts";
import { type Forecast, SizeChoice, type SizeOptions } from "./size-choice.ts";
import { StepCosts } from "./step-costs.ts";
import { SwitchCost } from "./switch-cost.ts";
import {
  type CutTree,
  type ExpectedRates,
  type ObservedStep,
  type SpeculationState,
  stateOf,
  type TreePolicy,
} from "./tree-policy.ts";
import { Trial } from "./trial.ts";
import { judged } from "./verified-draft.ts";
import { isSame, WayInUse } from "./way-in-use.ts";
import { fastestWay, type Way, wayOf } from "./ways.ts";

export interface AdaptiveOptions extends SizeOptions {
  /** T(M, context) as measured at start-up. */
  readonly passes: PassTable;
  /** Plain steps can run on the device without the host between them. */
  readonly plainOnDevice: boolean;
  /** Rows that a sequence has in a draft pass. */
  readonly draftRows: number;
}

/** Plain steps with about as many sequences that must have been seen before anything is compared with them. */
const NUM_SEEN = 4;
/** Steps of a look at another way, by where drafts are made; on the device the first ones do not count. */
const LOOK_STEPS = { device: 8, host: 4 } as const;
/** Steps in a row that show what such steps take, those included that do not count on the device. */
const TELLING_STEPS = NUM_SEEN + 2;
/** So much better something else must be for a run with trees to end before it has to. */
const CLEARLY = 1.25;
/** Drafting that takes less than this share of a plain step is taken for free. */
const FREE_SHARE = 0.02;

/**
 * Speculates as much as pays: of all sizes of trees the one with the most expected tokens a second, by live acceptance and measured
 * costs, or none. What is known little of is looked at now and then, trees while nothing is speculated among it, where that is
 * expected to bring more than it costs (`Looks`). Where trees are seen before they are verified, one node budget cuts the trees of the whole batch (`cutTrees`).
 *
 * On the device steps follow each other without the host. Trees may change their size there at any step, but between them and plain
 * decoding steps have to stop, which costs time: that is decided when they have to for something else, or after many of them.
 *
 * Drafting that costs next to nothing, as by look-up, is not decided on averages: every tree speaks for itself, and after trees
 * that were not worth verifying the next few steps are plain.
 */
export class AdaptiveTrees implements TreePolicy {
  readonly #options: AdaptiveOptions;
  readonly #passes: PassTimes;
  /** Of the steps that the host drafts. */
  readonly #host: HostTimes;
  readonly #costs: CostModel;
  readonly #stepCosts: StepCosts;
  readonly #acceptance: AcceptanceTable;
  readonly #sizes: SizeChoice;
  readonly #restarts = new RestartLoss();
  readonly #ends = new EndLoss();
  readonly #catchUps = new CatchUpCost();
  readonly #switches = new SwitchCost();
  readonly #calibration = new Calibration();
  readonly #sample = new DraftSample();
  #numSequences = 1;
  #limits: TreeLimits = NO_TREES;
  readonly #looks = new Looks();
  #trial: Trial | undefined;
  readonly #lookSteps: number;
  readonly #inUse: WayInUse;
  #expected: ExpectedRates | undefined;
  /** A trial ended since it was decided. */
  #trialIsOver = false;
  readonly #run = new DeviceRun();
  /** Used while drafting is free. */
  readonly #bursts = new Bursts();

  constructor(options: AdaptiveOptions) {
    this.#options = options;
    const { plainOnDevice, draftRows, draftsOnDevice } = options;
    this.#lookSteps = LOOK_STEPS[draftsOnDevice ? "device" : "host"];
    this.#inUse = new WayInUse(this.#lookSteps);
    const passes = new PassTimes(options.passes);
    this.#passes = passes;
    this.#host = new HostTimes({ passes, plainOnDevice, draftRows });
    const device = draftsOnDevice ? new DeviceTimes(passes, draftRows) : undefined;
    this.#costs = device ?? this.#host;
    this.#acceptance = new AcceptanceTable(options.maxNodes, options.maxDepth);
    this.#sizes = new SizeChoice(options, this.#costs, this.#acceptance);
    this.#stepCosts = new StepCosts(plainOnDevice, this.#host, device, this.#sizes);
  }

  get state(): SpeculationState {
    return stateOf(this.#limits, this.#calibration, this.#expected);
  }

  limits(numSequences: number, context: number): TreeLimits {
    if (numSequences > 0) {
      this.#numSequences = numSequences;
      this.#passes.context = context;
      this.#run.end();
      this.#trialIsOver = false;
      if (this.#trial?.load !== this.#loadClass) this.#trial = undefined;
      this.#limits = this.#decide();
    }
    return this.#limits;
  }

  next(limits: TreeLimits): TreeLimits | undefined {
    if (!this.#options.draftsOnDevice) return isSame(this.#decide(), limits) ? limits : undefined;
    const wanted = this.#afterwards(limits);
    if (isPlain(wanted) !== isPlain(limits)) return undefined;
    this.#limits = wanted;
    return wanted;
  }

  cut(trees: readonly DraftTree[], numRows: number): readonly CutTree[] {
    const calibrated = trees.map((tree) => this.#calibration.calibrate(tree));
    const [host, numSequences] = [this.#host, this.#numSequences];
    const plainRate = this.#sizes.rateOf(numSequences, NO_TREES);
    const rate = Math.max(plainRate, this.#isFree() ? 0 : this.#sizes.bestRate(numSequences));
    const { kept, gain } = cutTrees(calibrated, (numNodes) => host.verifyMs(numRows + numNodes, numSequences), rate);
    this.#judge(gain, rate);
    return trees.map((drafted, i) => {
      const nodes = kept[i] ?? new Set<number>();
      return { drafted, kept: nodes, tree: keepNodes(drafted, nodes) };
    });
  }

  observe(step: ObservedStep): void {
    if (step.numSequences > 0) this.#passes.context = step.context;
    for (const draft of this.#sample.of(step.drafts, step.stepMs).map(judged)) {
      this.#acceptance.observe({ ...draft, tree: this.#calibration.observe(draft) });
    }
    const isSteady = this.#stepCosts.observe(step);
    this.#catchUps.observe(step, () => this.#targetMs(step));
    this.#switches.observe(step, () => this.#sizes.forecast(step.numLanes, step.limits).stepMs);
    if (step.numSequences > 0) this.#restarts.observe({ ...step, isSteady }, () => this.#rateOf(step));
    this.#ends.observe(step);
    this.#account(step);
    // What is due to be decided is decided now: the next step waits for `next`.
    const goesOn = this.#options.draftsOnDevice && step.onDevice && !step.isLast;
    if (goesOn && !this.#inUse.stands(this.#loadClass)) this.#afterwards(this.#limits);
  }

  /** What is wanted after steps of a run with these bounds: the same, where neither their size nor their kind may change. */
  #afterwards(limits: TreeLimits): TreeLimits {
    const mayStop = this.#mayStop(limits);
    return mayStop || this.#mayResize(limits) ? this.#chosen(mayStop) : limits;
  }

  /** Of such steps when they are steady: idle lanes emit nothing. */
  #rateOf({ numSequences, numLanes, limits }: ObservedStep): number {
    return (numSequences / numLanes) * this.#sizes.rateOf(numLanes, limits);
  }

  /** Of a step that drafts nothing, prompts or not. */
  #targetMs({ numSequences, numRows }: ObservedStep): number {
    const share = this.#passes.of(numRows, numSequences) / this.#passes.of(numSequences);
    return share * this.#costs.plainMs(numSequences);
  }

  /** Whether the trees of a run may have another size: not after a look at them, when what is left of the run goes on, and plain decoding is in use. */
  #mayResize(limits: TreeLimits): boolean {
    return !isPlain(limits) && !isPlain(this.#trial?.limits ?? this.#inUse.limits);
  }

  /** Whether a run may stop for plain decoding in place of trees, or the other way round. */
  #mayStop(limits: TreeLimits): boolean {
    const isOver = this.#trialIsOver && this.#isWorthStopping(limits);
    return this.#run.isLong || this.#inUse.isJustSeen || this.#isUndecided || isOver || this.#isClearlyWorse(limits);
  }

  /** Whether what is in use by rights would gain more, until the run stops anyway, than it costs to begin anew with it now. */
  #isWorthStopping(limits: TreeLimits): boolean {
    const forecast = (one: TreeLimits) => this.#sizes.forecast(this.#numSequences, one);
    const [now, inUse] = [forecast(limits), forecast(this.#inUse.limits)];
    return (1 - now.rate / inUse.rate) * this.#run.meanSteps * now.stepMs > this.#startMs(now, inUse);
  }

  /** Whether nothing was decided for this load, and could be now. */
  get #isUndecided(): boolean {
    return !this.#inUse.isFor(this.#loadClass) && this.#costs.numPlainObserved(this.#numSequences) >= NUM_SEEN;
  }

  /** Whether the trees of a run on the device have shown that they lose. A trial ends by its own rules. */
  #isClearlyWorse(limits: TreeLimits): boolean {
    if (this.#trial || isPlain(limits) || this.#run.numSteps < TELLING_STEPS) return false;
    return this.#isMuchFaster(NO_TREES, limits);
  }

  #isMuchFaster(one: TreeLimits, other: TreeLimits): boolean {
    const rateOf = (limits: TreeLimits) => this.#sizes.rateOf(this.#numSequences, limits);
    return rateOf(one) > CLEARLY * rateOf(other);
  }

  /** Time, the end of trials, and the lengths of bursts. */
  #account(step: ObservedStep): void {
    const { limits, stepMs } = step;
    this.#run.observe(step);
    this.#looks.add(this.#loadClass, stepMs);
    this.#inUse.observe(limits, stepMs);
    if (isPlain(limits)) {
      this.#acceptance.age();
      this.#bursts.endPlainStep();
    }
    const trial = this.#trial;
    if (trial === undefined) return;
    trial.observe(limits);
    const isTelling = trial.numSeen >= TELLING_STEPS;
    if (!trial.isOver && !(isTelling && this.#isMuchFaster(this.#inUse.limits, trial.limits))) return;
    this.#trial = undefined;
    this.#trialIsOver = true;
    this.#inUse.endLook();
  }

  #decide(): TreeLimits {
    if (!this.#isFree()) return this.#chosen(true);
    return this.#bursts.isOn ? NO_TREES : this.#sizes.largest;
  }

  /** Whether drafting costs so little that each step may see what it brings. */
  #isFree(): boolean {
    const draftMs = this.#host.draftMs(this.#numSequences, this.#options.maxDepth);
    return !this.#options.draftsOnDevice && draftMs < FREE_SHARE * this.#costs.plainMs(this.#numSequences);
  }

  /** Plain steps on the device are faster than the host's: trees must make up for that, or the next steps are plain. */
  #judge(gain: number, rate: number): void {
    if (!this.#options.plainOnDevice) return;
    const hostMs =
      this.#host.verifyMs(this.#numSequences, this.#numSequences) - this.#costs.plainMs(this.#numSequences);
    this.#bursts.judge(gain > rate * hostMs && gain > 0);
  }

  /** @param mayChangeKind plain decoding may take the place of trees, or trees that of plain decoding */
  #chosen(mayChangeKind: boolean): TreeLimits {
    if (this.#trial) return this.#trial.limits;
    const numSequences = this.#numSequences;
    if (this.#costs.numPlainObserved(numSequences) < NUM_SEEN) return NO_TREES;
    if (this.#inUse.stands(this.#loadClass)) return this.#inUse.limits;
    const toWay = (forecast: Forecast) => wayOf(forecast, this.#turnoverMs(forecast));
    const plain = toWay(this.#sizes.forecast(numSequences, NO_TREES));
    const trees = this.#sizes.all(numSequences).map(toWay);
    const ways = mayChangeKind ? [plain, ...trees] : trees;
    this.#expected = { plain: 1000 / plain.tokenMs, trees: 1000 / Math.min(...trees.map(({ tokenMs }) => tokenMs)) };
    const before = ways.find(({ limits }) => isSame(limits, this.#inUse.limits));
    const inUse = fastestWay(ways, before, (from, to) => this.#changeMs(from, to));
    this.#inUse.choose(inUse.limits, this.#loadClass);
    if (!this.#inUse.isSeen) return inUse.limits;
    const [numSteps, catchUpMs] = [this.#lookSteps, this.#catchUpMs];
    const others = ways.filter((way) => way !== inUse);
    const doubt = (way: Way) => this.#sizes.doubt(numSequences, way.limits, inUse.limits, numSteps);
    const switchMs = (way: Way) => 2 * this.#startMs(way, inUse);
    const other = this.#looks.next(this.#loadClass, { inUse, others, numSteps, switchMs, catchUpMs, doubt });
    if (other === undefined) return inUse.limits;
    this.#trial = new Trial(other.limits, this.#loadClass, numSteps);
    return other.limits;
  }

  /** What a token takes more as sequences end and others begin. */
  #turnoverMs(forecast: Forecast): number {
    const restartMs = this.#restarts.msPerToken(this.#numSequences, !isPlain(forecast.limits));
    return restartMs + this.#ends.msPerToken(this.#numSequences, forecast);
  }

  get #catchUpMs(): number {
    return this.#catchUps.ms(this.#numSequences, this.#passes.context);
  }

  /** Of changing what is in use, once. */
  #changeMs(from: Way, to: Way): number {
    return this.#startMs(from, to) + (isPlain(from.limits) ? this.#catchUpMs : 0);
  }

  /** Of a run's start with either, where the other ran before. Where the host drafts, runs do not have to end for that, nor for another size of trees. */
  #startMs(one: Omit<Way, "tokenMs">, other: Omit<Way, "tokenMs">): number {
    if (!this.#options.draftsOnDevice || isPlain(one.limits) === isPlain(other.limits)) return 0;
    return this.#switches.ms(this.#numSequences, (one.stepMs + other.stepMs) / 2);
  }

  get #loadClass(): number {
    return loadClass(this.#numSequences);
  }
}
