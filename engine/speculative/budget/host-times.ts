import type { CostModel, StepShape } from "./cost-model.ts";
import type { PassTimes } from "./pass-times.ts";
import { RatioCurve } from "./ratio-curve.ts";

export interface HostCostOptions {
  readonly passes: PassTimes;
  /** Plain decoding runs on the device, without the host between steps, and so has times of its own. */
  readonly plainOnDevice: boolean;
  /** Rows that a sequence has in a draft pass. */
  readonly draftRows: number;
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
 * What steps take that the host drafts or verifies, whose parts are known. A deviation that all of them share, by other work on
 * the machine, is learned once.
 */
export class HostTimes implements CostModel {
  readonly #options: HostCostOptions;
  /** By sequences. */
  readonly #plain = new RatioCurve();
  /** By rows. */
  readonly #verify = new RatioCurve();
  /** By sequences, one level of a draft against a pass of its rows; 0 until drafting was observed. */
  readonly #draft = new RatioCurve();
  #hasDraft = false;
  #drift = 1;

  constructor(options: HostCostOptions) {
    this.#options = options;
  }

  numPlainObserved(numSequences: number): number {
    return (this.#options.plainOnDevice ? this.#plain : this.#verify).numObserved(numSequences);
  }

  plainMs(numSequences: number): number {
    if (!this.#options.plainOnDevice) return this.verifyMs(numSequences, numSequences);
    return this.#drift * this.#plain.at(numSequences) * this.#options.passes.of(numSequences);
  }

  /** A step of so many rows by the host, drafting left out. */
  verifyMs(numRows: number, numSequences: number): number {
    return this.#drift * this.#verify.at(numRows) * this.#options.passes.of(numRows, numSequences);
  }

  /** Drafting trees of this depth for so many sequences, by the host; 0 before it was seen. */
  draftMs(numSequences: number, depth: number): number {
    return this.#drift * depth * (this.#hasDraft ? this.#draft.at(numSequences) : 0) * this.#levelMs(numSequences);
  }

  wholeMs({ numSequences, numNodes, depth }: StepShape): number {
    return this.verifyMs(numSequences * numNodes, numSequences) + this.draftMs(numSequences, depth);
  }

  variance(numSequences: number, one: StepShape | undefined): number {
    if (one === undefined) return NOISE ** 2 / (1 + this.numPlainObserved(numSequences));
    const [numVerified, numDrafted] = [
      this.#verify.numObserved(numSequences * one.numNodes),
      this.#draft.numObserved(numSequences),
    ];
    return NOISE ** 2 * (1 / (1 + numVerified) + 1 / (1 + numDrafted));
  }

  noise(_numSequences: number, numSteps: number): number {
    return LOOK_NOISE ** 2 / numSteps;
  }

  observePlain(numSequences: number, ms: number): void {
    if (!this.#options.plainOnDevice) this.observeVerify(numSequences, numSequences, ms);
    else this.#learn(this.#plain, numSequences, ms / this.plainMs(numSequences));
  }

  observeVerify(numRows: number, numSequences: number, ms: number): void {
    this.#learn(this.#verify, numRows, ms / this.verifyMs(numRows, numSequences));
  }

  observeDraft(numSequences: number, depth: number, ms: number): void {
    this.#hasDraft = true;
    this.#learn(this.#draft, numSequences, Math.max(ms, MIN_MS) / this.draftMs(numSequences, depth));
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
    return this.#options.passes.of(numSequences * this.#options.draftRows, numSequences);
  }
}

function clamp(logRatio: number): number {
  return Math.max(-MAX_STEP, Math.min(MAX_STEP, logRatio));
}
