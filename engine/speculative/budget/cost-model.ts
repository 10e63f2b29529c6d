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
  /** What a level of a draft is thought to take, of a pass of the target's, before one was seen; may be 0. */
  readonly draftPrior: number;
}

/** A step in which all trees have one size. */
export interface StepShape {
  readonly numSequences: number;
  /** Of a tree, root included. */
  readonly numNodes: number;
  readonly depth: number;
}

/** How much of a deviation is taken for the machine's, not for the curve's. */
const DRIFT_RATE = 0.02;
const NUM_SETTLED = 32;
/** Observations of a curve after which outliers are cut, in log ratio. */
const NUM_KNOWN = 8;
const MAX_STEP = 0.4;
/** A draft that seems to cost less of a step was not measured right. */
const MIN_DRAFT_SHARE = 0.02;
/** Whole steps after which one that was observed counts half. */
const HALF_LIFE = 256;
/** Least time that is told from none. */
const MIN_MS = 1e-3;
/** Observations after which a draft's cost is thought to be known. */
const NUM_TO_SPLIT = 8;

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
  /** By size of the trees, then by sequences: what whole steps take, against the sum of their parts. */
  readonly #sizes = new Map<string, RatioCurve>();
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

  /** How often drafting for about so many sequences was. */
  numDraftObserved(numSequences: number): number {
    return this.#draft.numObserved(numSequences);
  }

  plainMs(numSequences: number): number {
    if (!this.#options.plainOnDevice) return this.verifyMs(numSequences);
    return this.#drift * this.#plain.at(numSequences) * this.#passMs(numSequences);
  }

  /** A step of so many rows, drafting left out. */
  verifyMs(numRows: number): number {
    return this.#drift * this.#verify.at(numRows) * this.#passMs(numRows);
  }

  /** Drafting trees of this depth for so many sequences. */
  draftMs(numSequences: number, depth: number): number {
    const factor = this.#hasDraft ? this.#draft.at(numSequences) : this.#options.draftPrior;
    return this.#drift * depth * factor * this.#levelMs(numSequences);
  }

  /** How often such steps were observed lately, with about as many sequences: older ones count less. */
  numWholeObserved(size: StepShape): number {
    const { count, at } = this.#recent.get(loadKey(size)) ?? { count: 0, at: 0 };
    return count * 0.5 ** ((this.#numWhole - at) / HALF_LIFE);
  }

  /** A step that drafts trees of one size for all sequences and verifies them. */
  wholeMs(size: StepShape): number {
    const { numSequences, numNodes, depth } = size;
    const factor = this.#sizes.get(sizeKey(size))?.at(numSequences) ?? 1;
    return factor * (this.verifyMs(numSequences * numNodes) + this.draftMs(numSequences, depth));
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
    const { numSequences, numNodes, depth } = size;
    if (this.numDraftObserved(numSequences) < NUM_TO_SPLIT) {
      const draftMs = ms - this.verifyMs(numSequences * numNodes);
      this.observeDraft(numSequences, depth, Math.max(draftMs, MIN_DRAFT_SHARE * ms));
    }
    this.#recent.set(loadKey(size), { count: this.numWholeObserved(size) + 1, at: this.#numWhole });
    this.#numWhole++;
    const key = sizeKey(size);
    const curve = this.#sizes.get(key) ?? new RatioCurve();
    this.#sizes.set(key, curve);
    this.#learn(curve, numSequences, ms / this.wholeMs(size));
  }

  #learn(curve: RatioCurve, count: number, ratio: number): void {
    const numObserved = curve.numObserved(count);
    const logRatio = Math.log(ratio);
    // Other work on the machine is no news, once the curve is known: both learn the same, or they would part.
    const step = numObserved < NUM_KNOWN ? logRatio : Math.max(-MAX_STEP, Math.min(MAX_STEP, logRatio));
    if (numObserved >= NUM_SETTLED) this.#drift *= Math.exp(DRIFT_RATE * step);
    curve.observe(count, step);
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

function sizeKey({ numNodes, depth }: StepShape): string {
  return `${numNodes} ${depth}`;
}

function loadKey(size: StepShape): string {
  return `${Math.round(Math.log2(size.numSequences))} ${sizeKey(size)}`;
}
