import { DeviceTimes, type StepShape } from "./device-times.ts";
import { type PassCost, PassTimes } from "./pass-times.ts";
import { RatioCurve } from "./ratio-curve.ts";

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
const NUM_SETTLED = 16;
/** Observations of a curve after which outliers are cut, in log ratio. */
const NUM_KNOWN = 8;
const MAX_STEP = 0.4;
/** Noise of one observation, as a standard deviation in log ratio, and of a look's: steps of a few seconds err together, with the machine. */
const NOISE = 0.2;
const LOOK_NOISE = 0.3;
/** Least time that is told from none. */
const MIN_MS = 1e-3;

/**
 * What steps cost, in ms: T(M) as measured at start-up, times factors that are learned from the steps themselves. A deviation that
 * all of them share, by longer contexts or other work on the machine, is learned once.
 */
export class CostModel {
  readonly #options: CostOptions;
  readonly #passes: PassTimes;
  /** Where steps draft and verify on the device. */
  readonly #device: DeviceTimes | undefined;
  /** By sequences. */
  readonly #plain = new RatioCurve();
  /** By rows. */
  readonly #verify = new RatioCurve();
  /** By sequences, one level of a draft against a pass of its rows; 0 until drafting was observed. */
  readonly #draft = new RatioCurve();
  #hasDraft = false;
  #drift = 1;

  constructor(options: CostOptions) {
    this.#options = options;
    this.#passes = new PassTimes(options.passes);
    if (options.draftsOnDevice) this.#device = new DeviceTimes(this.#passes, options.draftRows);
  }

  /** How often plain steps of about so many sequences were observed. */
  numPlainObserved(numSequences: number): number {
    if (this.#device) return this.#device.numPlainObserved(numSequences);
    return (this.#options.plainOnDevice ? this.#plain : this.#verify).numObserved(numSequences);
  }

  plainMs(numSequences: number): number {
    if (this.#device) return this.#device.plainMs(numSequences);
    if (!this.#options.plainOnDevice) return this.verifyMs(numSequences);
    return this.#drift * this.#plain.at(numSequences) * this.#passes.of(numSequences);
  }

  /** A step of so many rows by the host, drafting left out. */
  verifyMs(numRows: number): number {
    return this.#drift * this.#verify.at(numRows) * this.#passes.of(numRows);
  }

  /** Drafting trees of this depth for so many sequences, by the host; 0 before it was seen. */
  draftMs(numSequences: number, depth: number): number {
    return this.#drift * depth * (this.#hasDraft ? this.#draft.at(numSequences) : 0) * this.#levelMs(numSequences);
  }

  /** A step that drafts trees of one size for all sequences and verifies them. */
  wholeMs(size: StepShape): number {
    if (this.#device) return this.#device.wholeMs(size);
    const { numSequences, numNodes, depth } = size;
    return this.verifyMs(numSequences * numNodes) + this.draftMs(numSequences, depth);
  }

  /**
   * How much of the log ratio of what steps of one size take to what others do is not known: a variance.
   * @param one absent for plain steps, as `other` is
   */
  variance(numSequences: number, one: StepShape | undefined, other: StepShape | undefined): number {
    if (this.#device) return this.#device.variance(numSequences, one, other);
    if (one === undefined) return NOISE ** 2 / (1 + this.numPlainObserved(numSequences));
    const [numVerified, numDrafted] = [
      this.#verify.numObserved(numSequences * one.numNodes),
      this.#draft.numObserved(numSequences),
    ];
    return NOISE ** 2 * (1 / (1 + numVerified) + 1 / (1 + numDrafted));
  }

  /** Of what so many steps show of that. */
  noise(numSequences: number, numSteps: number): number {
    return this.#device?.noise(numSequences, numSteps) ?? LOOK_NOISE ** 2 / numSteps;
  }

  observePlain(numSequences: number, ms: number): void {
    if (this.#device) this.#device.observePlain(numSequences, ms);
    else if (!this.#options.plainOnDevice) this.observeVerify(numSequences, ms);
    else this.#learn(this.#plain, numSequences, ms / this.plainMs(numSequences));
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
    this.#device?.observe(size, ms);
  }

  /** One of the first steps of a run. */
  observeStart(size: StepShape, ms: number): void {
    this.#device?.observeStart(size, ms);
  }

  #learn(curve: RatioCurve, count: number, ratio: number): void {
    const numObserved = curve.numObserved(count);
    const logRatio = Math.log(ratio);
    // Other work on the machine is no news, once the curve is known: both learn the same, or they would part.
    const step = numObserved < NUM_KNOWN ? logRatio : clamp(logRatio);
    if (numObserved >= NUM_SETTLED) this.#drift *= Math.exp(DRIFT_RATE * step);
    curve.observe(count, step);
  }

  #levelMs(numSequences: number): number {
    return this.#passes.of(numSequences * this.#options.draftRows);
  }
}

function clamp(logRatio: number): number {
  return Math.max(-MAX_STEP, Math.min(MAX_STEP, logRatio));
}
