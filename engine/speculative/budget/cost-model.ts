import { LineFit } from "./line-fit.ts";
import { loadClass, nearestLoad } from "./load-class.ts";
import { RatioCurve } from "./ratio-curve.ts";

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

/** A step in which all trees have one size. */
export interface StepShape {
  readonly numSequences: number;
  /** Of a tree, root included. */
  readonly numNodes: number;
  readonly depth: number;
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
/** Whole steps after which one that was observed counts half. */
const HALF_LIFE = 256;
/** A level of a draft on the device is hoped to take this share of a pass, before one was seen: what is hoped for is tried. */
const DRAFT_PRIOR = 0.1;
/** Least time that is told from none. */
const MIN_MS = 1e-3;
/** Depths at which steps on the device have the times that were expected, and how many observations that is worth. */
const PRIOR_DEPTHS = [1, 4] as const;
const PRIOR_WEIGHT = 1;

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
  /** By log₂ of the load: what whole steps take by depth, but for what the rows of their nodes add. */
  readonly #byDepth = new Map<number, LineFit>();
  /** By size and load: whole steps that were observed, the latest at which of them. */
  readonly #recent = new Map<string, { readonly count: number; readonly at: number }>();
  #numWhole = 0;
  #hasDraft = false;
  #drift = 1;

  constructor(options: CostOptions) {
    this.#options = options;
  }

  /** How often plain steps of about so many sequences were observed. */
  numPlainObserved(numSequences: number): number {
    return (this.#options.plainOnDevice ? this.#plain : this.#verify).numObserved(numSequences);
  }

  /** How often steps that drafted for about so many sequences were. */
  numDraftObserved(numSequences: number): number {
    return this.#byDepth.get(loadClass(numSequences))?.numObserved ?? this.#draft.numObserved(numSequences);
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

  /** How often such steps were observed lately, with about as many sequences: older ones count less. */
  numWholeObserved(size: StepShape): number {
    const { count, at } = this.#recent.get(loadKey(size)) ?? { count: 0, at: 0 };
    return count * 0.5 ** ((this.#numWhole - at) / HALF_LIFE);
  }

  /** A step that drafts trees of one size for all sequences and verifies them. */
  wholeMs(size: StepShape): number {
    const { numSequences, numNodes, depth } = size;
    if (!this.#options.draftsOnDevice)
      return this.verifyMs(numSequences * numNodes) + this.draftMs(numSequences, depth);
    const byDepth = this.#byDepth.get(loadClass(numSequences)) ?? this.#expectedByDepth(numSequences);
    return this.#drift * Math.max(MIN_MS, byDepth.at(depth) + this.#nodesMs(size));
  }

  observePlain(numSequences: number, ms: number): void {
    if (!this.#options.plainOnDevice) this.observeVerify(numSequences, ms);
    else this.#learn(this.#plain, numSequences, ms / this.plainMs(numSequences));
  }

  observeVerify(numRows: number, ms: number): void {
    this.#learn(this.#verify, numRows, ms / this.verifyMs(numRows));
  }

  observeDraft(numSequences: number, depth: number, ms: number): void {
    this.#hasDraft = true;
    this.#learn(this.#draft, numSequences, Math.max(ms, MIN_MS) / this.draftMs(numSequences, depth));
  }

  /** A step on the device, whose parts are not known. */
  observeWhole(size: StepShape, ms: number): void {
    const { numSequences, depth } = size;
    const load = loadClass(numSequences);
    const byDepth = this.#byDepth.get(load) ?? this.#expectedByDepth(numSequences);
    this.#byDepth.set(load, byDepth);
    const logRatio = Math.log(ms / this.wholeMs(size));
    const bounded = byDepth.numObserved < NUM_KNOWN ? ms : ms * Math.exp(clamp(logRatio) - logRatio);
    byDepth.observe(depth, bounded / this.#drift - this.#nodesMs(size));
    if (byDepth.numObserved >= NUM_SETTLED) this.#drift *= Math.exp(WHOLE_DRIFT_RATE * clamp(logRatio));
    this.#recent.set(loadKey(size), { count: this.numWholeObserved(size) + 1, at: this.#numWhole });
    this.#numWhole++;
  }

  #learn(curve: RatioCurve, count: number, ratio: number): void {
    const numObserved = curve.numObserved(count);
    const logRatio = Math.log(ratio);
    // Other work on the machine is no news, once the curve is known: both learn the same, or they would part.
    const step = numObserved < NUM_KNOWN ? logRatio : clamp(logRatio);
    const driftRate = this.#numWhole > 0 ? WHOLE_DRIFT_RATE : DRIFT_RATE;
    if (numObserved >= NUM_SETTLED) this.#drift *= Math.exp(driftRate * step);
    curve.observe(count, step);
  }

  /** What the nodes below the roots add to a pass. */
  #nodesMs({ numSequences, numNodes }: StepShape): number {
    return this.#passMs(numSequences * numNodes) - this.#passMs(numSequences);
  }

  /** A plain step and the levels of a draft, as far as they are known: at the nearest load at which steps were observed, in proportion. */
  #expectedByDepth(numSequences: number): LineFit {
    const [nearest = 0, known] = nearestLoad(this.#byDepth, loadClass(numSequences)) ?? [];
    const scale = this.#passMs(numSequences) / this.#passMs(2 ** nearest);
    const plainMs = this.plainMs(numSequences) / this.#drift;
    const levelMs = DRAFT_PRIOR * this.#levelMs(numSequences);
    const point = (depth: number) => [depth, known ? scale * known.at(depth) : plainMs + depth * levelMs] as const;
    const [first, second] = PRIOR_DEPTHS;
    return new LineFit([point(first), point(second)], PRIOR_WEIGHT);
  }

  #levelMs(numSequences: number): number {
    return this.#passMs(numSequences * this.#options.draftRows);
  }

  /** T(M) at start-up, linear between its points; beyond the last it goes on as it did before. */
  #passMs(numRows: number): number {
    const { passes } = this.#options;
    const first = passes[0];
    const next = passes.findIndex((pass) => pass.numRows >= numRows);
    const high = passes[next < 0 ? passes.length - 1 : next];
    const low = passes[(next < 0 ? passes.length - 1 : next) - 1];
    if (first === undefined || high === undefined) throw new RangeError("no pass was measured");
    if (low === undefined) return next === 0 ? first.ms : first.ms * (numRows / first.numRows);
    return low.ms + ((numRows - low.numRows) / (high.numRows - low.numRows)) * (high.ms - low.ms);
  }
}

function clamp(logRatio: number): number {
  return Math.max(-MAX_STEP, Math.min(MAX_STEP, logRatio));
}

function loadKey({ numSequences, numNodes, depth }: StepShape): string {
  return `${loadClass(numSequences)} ${numNodes} ${depth}`;
}
