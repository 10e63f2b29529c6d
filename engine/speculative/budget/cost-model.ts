import { loadClass, nearestLoad } from "./load-class.ts";
import { NOISE, PartsFit } from "./parts-fit.ts";
import { RatioCurve } from "./ratio-curve.ts";
import { isSameSize, known, SizeOffsets, type StepShape, sizeNoise } from "./size-offsets.ts";

/** A pass of so many rows, as measured at start-up: one point of T(M). */
export interface PassCost {
  readonly numRows: number;
  readonly ms: number;
}

export interface CostOptions {
  /** T(M), by rising number of rows; at least one point. */
  readonly passes: readonly PassCost[];
  /** Plain decoding runs on the device, without the host between steps, and so has times of its own. */
  readonly plainOnDevice: boolean;
  /** Rows that a sequence has in a draft pass. */
  readonly draftRows: number;
  /** Steps draft and verify on the device: then their parts are not known. */
  readonly draftsOnDevice: boolean;
}

/** How much of a deviation from what was often observed is taken for the machine's. */
const DRIFT_RATE = 0.02;
/**
 * The same where whole steps run on the device, whose parts are not known: machines with other work are faster and slower from one
 * second to the next, and sizes are compared by what they take beside each other.
 */
const WHOLE_DRIFT_RATE = 0.2;
const NUM_SETTLED = 16;
/** Observations of a curve after which outliers are cut, in log ratio. */
const NUM_KNOWN = 8;
const MAX_STEP = 0.4;
/** The same of steps of one size on the device. */
const NUM_KNOWN_SIZE = 2;
/** A level of a draft on the device is hoped to take this share of a pass, before one was seen: what is hoped for is tried. */
const DRAFT_PRIOR = 0.1;
/** Least time that is told from none. */
const MIN_MS = 1e-3;
/** Another row of a pass takes this share of a pass of one row at least, whatever was measured: a factor of nothing would learn nothing. */
const MIN_ROW_SHARE = 1e-3;
/** By how much plain steps take another time after a step with trees, as a standard deviation in log ratio. */
const PLAIN_WALK = 0.002;
/** By how much one step moves the share of steps that begin a run. */
const START_RATE = 0.02;
/** How sure the parts of a step on the device are before one was seen, and where one was with another number of sequences (PartsFit). */
const FIRST_SPREADS = [0.2, 1, 0.7];
const NEAR_SPREADS = [0.2, 0.3, 0.5];

/**
 * What steps cost, in ms: T(M) as measured at start-up, times factors that are learned from the steps themselves. A deviation that
 * all of them share, by longer contexts or other work on the machine, is learned once.
 */
export class CostModel {
  readonly #options: CostOptions;
  /** By sequences. */
  readonly #plain = new RatioCurve();
  /** By rows. */
  readonly #verify = new RatioCurve();
  /** By sequences, one level of a draft against a pass of its rows; 0 until drafting was observed. */
  readonly #draft = new RatioCurve();
  /** By log₂ of the load: factors of the parts of whole steps (`#parts`). */
  readonly #whole = new Map<number, PartsFit>();
  /** The same of the first steps of a run, of which none overlaps what was before it, and the share of the steps that they are. */
  readonly #starts = new Map<number, PartsFit>();
  readonly #startShares = new Map<number, number>();
  /** The start under way. */
  #start: { readonly size: StepShape; readonly ms: number; readonly numSteps: number } | undefined;
  readonly #offsets = new SizeOffsets();
  /** By how much plain steps may take another time since trees came, as a variance, and their number since the latest with trees. */
  #plainWalk = 0;
  #numPlainInRow = 0;
  #hasDraft = false;
  #drift = 1;
  /** T(M) at start-up by rows, of those that were asked for. */
  readonly #passMsByRows = new Map<number, number>();

  constructor(options: CostOptions) {
    this.#options = options;
  }

  /** How often plain steps of about so many sequences were observed. */
  numPlainObserved(numSequences: number): number {
    return (this.#options.plainOnDevice ? this.#plain : this.#verify).numObserved(numSequences);
  }

  plainMs(numSequences: number): number {
    if (!this.#options.plainOnDevice) return this.verifyMs(numSequences);
    return this.#drift * this.#plain.at(numSequences) * this.#passMs(numSequences);
  }

  /** A step of so many rows, drafting left out. */
  verifyMs(numRows: number): number {
    return this.#drift * this.#verify.at(numRows) * this.#passMs(numRows);
  }

  /** Drafting trees of this depth for so many sequences, by the host; 0 before it was seen. */
  draftMs(numSequences: number, depth: number): number {
    return this.#drift * depth * (this.#hasDraft ? this.#draft.at(numSequences) : 0) * this.#levelMs(numSequences);
  }

  /**
   * How much of the log ratio of what steps of one size take to what others do is not known of this size: a variance.
   * @param other absent for plain steps
   */
  variance(size: StepShape, other?: StepShape): number {
    if (!this.#options.draftsOnDevice) return this.#ownVariance(size);
    return (
      this.#ownVariance(size) + this.#fitOf(size.numSequences).variance(this.#parts(size), other && this.#parts(other))
    );
  }

  /** The same of plain steps. */
  plainVariance(numSequences: number): number {
    return NOISE ** 2 / (1 + this.numPlainObserved(numSequences)) + this.#plainWalk;
  }

  /** Of what so many steps show of that. */
  noise(numSteps: number): number {
    return sizeNoise(numSteps);
  }

  /** A step that drafts trees of one size for all sequences and verifies them. */
  wholeMs(size: StepShape): number {
    const { numSequences, numNodes, depth } = size;
    if (!this.#options.draftsOnDevice)
      return this.verifyMs(numSequences * numNodes) + this.draftMs(numSequences, depth);
    const load = loadClass(numSequences);
    const parts = this.#parts(size);
    const steadyMs = this.#fitOf(numSequences).at(parts);
    const startMs = this.#starts.get(load)?.at(parts) ?? steadyMs;
    const meanMs = steadyMs + (this.#startShares.get(load) ?? 0) * (startMs - steadyMs);
    return this.#drift * Math.exp(this.#offsets.of(size)) * meanMs;
  }

  observePlain(numSequences: number, ms: number): void {
    if (!this.#options.plainOnDevice) this.observeVerify(numSequences, ms);
    else {
      const variance = this.plainVariance(numSequences);
      const rate = variance / (variance + NOISE ** 2);
      // A look's few steps say more of plain steps than of the machine, as with sizes of trees.
      this.#learn(this.#plain, numSequences, ms / this.plainMs(numSequences), rate, known(this.#numPlainInRow));
    }
    this.#numPlainInRow++;
    this.#plainWalk *= NOISE ** 2 / (this.#plainWalk + NOISE ** 2);
  }

  observeVerify(numRows: number, ms: number): void {
    this.#learn(this.#verify, numRows, ms / this.verifyMs(numRows));
  }

  observeDraft(numSequences: number, depth: number, ms: number): void {
    this.#hasDraft = true;
    this.#learn(this.#draft, numSequences, Math.max(ms, MIN_MS) / this.draftMs(numSequences, depth));
  }

  /** A step on the device, whose parts are not known; of a run of them that is under way. */
  observeWhole(size: StepShape, ms: number): void {
    this.#endStart();
    const { numSequences } = size;
    const load = loadClass(numSequences);
    this.#countStart(load, false);
    if (this.#offsets.meet(size)) return;
    const fit = this.#fitOf(numSequences);
    this.#whole.set(load, fit);
    const parts = this.#parts(size);
    const ofParts = Math.log(ms / (this.#drift * fit.at(parts)));
    const logRatio = ofParts - this.#offsets.of(size);
    const count = this.#offsets.countOf(size);
    const isKnown = fit.numObserved >= NUM_KNOWN || count >= NUM_KNOWN_SIZE;
    const bounded = (isKnown ? ms * Math.exp(clamp(logRatio) - logRatio) : ms) / this.#drift;
    fit.observe(parts, bounded);
    this.#offsets.observe(size, Math.log(bounded / fit.at(parts)));
    // By the same surprise that the parts learn from: by another one, each would undo the other's work, in one direction without end, since
    // what is in use is what seems to take less than its parts. A look's few steps say more of their size than of the machine.
    if (fit.numObserved >= NUM_SETTLED) this.#drift *= Math.exp(WHOLE_DRIFT_RATE * known(count) * clamp(ofParts));
    this.#numPlainInRow = 0;
    this.#plainWalk += PLAIN_WALK ** 2;
  }

  /** One of the first steps of a run: they were submitted together, so that only their mean says what they take. */
  observeStart(size: StepShape, ms: number): void {
    if (this.#start && !isSameSize(this.#start.size, size)) this.#endStart();
    this.#start = { size, ms: (this.#start?.ms ?? 0) + ms, numSteps: (this.#start?.numSteps ?? 0) + 1 };
    this.#countStart(loadClass(size.numSequences), true);
  }

  /** Where steps run on the device, of the offset alone. */
  #ownVariance(size: StepShape): number {
    if (this.#options.draftsOnDevice) return this.#offsets.varianceOf(size);
    const { numSequences, numNodes } = size;
    const [numVerified, numDrafted] = [
      this.#verify.numObserved(numSequences * numNodes),
      this.#draft.numObserved(numSequences),
    ];
    return NOISE ** 2 * (1 / (1 + numVerified) + 1 / (1 + numDrafted));
  }

  #endStart(): void {
    if (this.#start === undefined) return;
    const { size, ms, numSteps } = this.#start;
    this.#start = undefined;
    const load = loadClass(size.numSequences);
    const fit = this.#starts.get(load) ?? new PartsFit(this.#expected(size.numSequences).factors, NEAR_SPREADS);
    this.#starts.set(load, fit);
    fit.observe(this.#parts(size), ms / numSteps / this.#drift);
  }

  #countStart(load: number, isStart: boolean): void {
    const share = this.#startShares.get(load) ?? 0;
    this.#startShares.set(load, share + START_RATE * (Number(isStart) - share));
  }

  /** @param rate of the curve at least @param driftShare of a step's usual word on the drift */
  #learn(curve: RatioCurve, count: number, ratio: number, rate = 0, driftShare = 1): void {
    const numObserved = curve.numObserved(count);
    const logRatio = Math.log(ratio);
    // Other work on the machine is no news, once the curve is known: both learn the same, or they would part.
    const step = numObserved < NUM_KNOWN ? logRatio : clamp(logRatio);
    const driftRate = this.#offsets.numSteps > 0 ? WHOLE_DRIFT_RATE : DRIFT_RATE;
    if (numObserved >= NUM_SETTLED) this.#drift *= Math.exp(driftShare * driftRate * step);
    curve.observe(count, step, rate);
  }

  /** Of a step on the device, in ms as far as start-up knows: a pass of the roots, the levels of the draft, and what the nodes add. */
  #parts({ numSequences, numNodes, depth }: StepShape): readonly number[] {
    const rootsMs = this.#passMs(numSequences);
    const numAdded = numSequences * (numNodes - 1);
    const addedMs = this.#passMs(numSequences * numNodes) - rootsMs;
    const leastMs = MIN_ROW_SHARE * numAdded * this.#passMs(1);
    return [rootsMs, depth * this.#levelMs(numSequences), Math.max(addedMs, leastMs)];
  }

  #fitOf(numSequences: number): PartsFit {
    return this.#whole.get(loadClass(numSequences)) ?? this.#expected(numSequences);
  }

  /** Factors as they are at the nearest load at which steps were observed; else those of plain steps, and of what is hoped. */
  #expected(numSequences: number): PartsFit {
    const known = nearestLoad(this.#whole, loadClass(numSequences));
    if (known) return new PartsFit(known.factors, NEAR_SPREADS);
    const plainFactor = this.plainMs(numSequences) / this.#drift / this.#passMs(numSequences);
    return new PartsFit([plainFactor, DRAFT_PRIOR, 1], FIRST_SPREADS);
  }

  #levelMs(numSequences: number): number {
    return this.#passMs(numSequences * this.#options.draftRows);
  }

  #passMs(numRows: number): number {
    const ms = this.#passMsByRows.get(numRows) ?? this.#interpolated(numRows);
    this.#passMsByRows.set(numRows, ms);
    return ms;
  }

  /** T(M) at start-up, linear between its points; beyond the last as it rises over all of them, since kernels take rows by tiles. */
  #interpolated(numRows: number): number {
    const { passes } = this.#options;
    const [first, last] = [passes[0], passes.at(-1)];
    if (first === undefined || last === undefined) throw new RangeError("no pass was measured");
    const next = passes.findIndex((pass) => pass.numRows >= numRows);
    const high = passes[next] ?? last;
    const low = (next < 0 ? first : passes[next - 1]) ?? high;
    if (low === high) return high.numRows < numRows ? high.ms * (numRows / high.numRows) : high.ms;
    return low.ms + ((numRows - low.numRows) / (high.numRows - low.numRows)) * (high.ms - low.ms);
  }
}

function clamp(logRatio: number): number {
  return Math.max(-MAX_STEP, Math.min(MAX_STEP, logRatio));
}
