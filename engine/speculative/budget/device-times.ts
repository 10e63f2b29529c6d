import type { CostModel, StepShape } from "./cost-model.ts";
import { loadClass, nearestLoad } from "./load-class.ts";
import type { PassTimes } from "./pass-times.ts";
import { type Factors, StepFilter, type StepKind } from "./step-filter.ts";

/** A level of a draft on the device is hoped to take this share of a pass, before one was seen: what is hoped for is tried. */
const DRAFT_PRIOR = 0.1;
/** Another row of a pass takes this share of a pass of one row at least, whatever was measured: a factor of nothing would learn nothing. */
const MIN_ROW_SHARE = 1e-3;
/**
 * To give rows to the best nodes of all trees, which are drafted larger than that, takes this share of a pass of the roots: on an H200 steps of
 * 1.3 to 2 ms take 0.02 to 0.05 ms more, on two cores steps of 70 ms 2 to 3 ms.
 */
const SHARING_SHARE = 0.04;
/** By how much one step moves what is known of the steps that begin a run. */
const START_RATE = 0.02;

/** What is known of a load. */
interface Load {
  readonly filter: StepFilter;
  numPlain: number;
  /** Sizes of which a step came. */
  readonly met: Set<number>;
  /** Share of the steps that are a run's first, and log of what these take beside others. */
  startShare: number;
  startRatio: number;
}

/** What steps take that run on the device from drafting to commit, whose parts are not known: by load, of trees of every size. */
export class DeviceTimes implements CostModel {
  readonly #passes: PassTimes;
  readonly #draftRows: number;
  /** By log₂ of the load. */
  readonly #loads = new Map<number, Load>();
  /** The start of a run that is under way. */
  #start: { readonly size: StepShape; readonly ms: number; readonly numSteps: number } | undefined;

  /** @param draftRows rows that a sequence has in a draft pass */
  constructor(passes: PassTimes, draftRows: number) {
    this.#passes = passes;
    this.#draftRows = draftRows;
  }

  numPlainObserved(numSequences: number): number {
    return this.#at(numSequences).numPlain;
  }

  plainMs(numSequences: number): number {
    return this.#at(numSequences).filter.at(this.#plain(numSequences));
  }

  /** Steps that begin a run have their share in it. */
  wholeMs(size: StepShape): number {
    const { filter, startShare, startRatio } = this.#at(size.numSequences);
    return filter.at(this.#kindOf(size)) * (1 + startShare * (Math.exp(startRatio) - 1));
  }

  variance(numSequences: number, one: StepShape | undefined, other: StepShape | undefined): number {
    const [kind, otherKind] = [one, other].map((size) => (size ? this.#kindOf(size) : this.#plain(numSequences)));
    return kind && otherKind ? this.#at(numSequences).filter.variance(kind, otherKind) : 0;
  }

  noise(numSequences: number, numSteps: number): number {
    return this.#at(numSequences).filter.lookNoise(numSteps);
  }

  observePlain(numSequences: number, ms: number): void {
    const load = this.#at(numSequences);
    load.numPlain++;
    load.filter.observe(this.#plain(numSequences), ms);
  }

  /** Of a run that is under way. A size's first step pays for what it is the first to need, and tells nothing. */
  observe(size: StepShape, ms: number): void {
    this.#endStart();
    const load = this.#at(size.numSequences);
    load.startShare -= START_RATE * load.startShare;
    const kind = this.#kindOf(size);
    if (load.met.has(kind.size)) load.filter.observe(kind, ms);
    load.met.add(kind.size);
  }

  /** One of the first steps of a run: they were submitted together, so that only their mean says what they take. */
  observeStart(size: StepShape, ms: number): void {
    if (this.#start && this.#kindOf(this.#start.size).size !== this.#kindOf(size).size) this.#endStart();
    this.#start = { size, ms: (this.#start?.ms ?? 0) + ms, numSteps: (this.#start?.numSteps ?? 0) + 1 };
    const load = this.#at(size.numSequences);
    load.startShare += START_RATE * (1 - load.startShare);
  }

  #endStart(): void {
    if (this.#start === undefined) return;
    const { size, ms, numSteps } = this.#start;
    this.#start = undefined;
    const load = this.#at(size.numSequences);
    const logRatio = Math.log(ms / numSteps / load.filter.at(this.#kindOf(size)));
    load.startRatio += START_RATE * (Math.max(-1, Math.min(1, logRatio)) - load.startRatio);
  }

  #at(numSequences: number): Load {
    const key = loadClass(numSequences);
    const known = this.#loads.get(key);
    if (known) return known;
    const near = nearestLoad(new Map([...this.#loads].filter(([, { met }]) => met.size > 0)), key);
    const factors: Factors = near?.filter.factors ?? { plain: 0, parts: [0, Math.log(DRAFT_PRIOR), 0] };
    const filter = new StepFilter(factors, near !== undefined);
    const load: Load = { filter, numPlain: 0, met: new Set(), startShare: 0, startRatio: near?.startRatio ?? 0 };
    this.#loads.set(key, load);
    return load;
  }

  #plain(numSequences: number): StepKind {
    return { parts: [this.#passes.of(numSequences)] };
  }

  /** In ms as far as start-up knows: a pass of the roots, the levels of the draft, and what the nodes add. */
  #kindOf({ numSequences, numNodes, depth, sharesRows = false }: StepShape): Required<StepKind> {
    const rootsMs = this.#passes.of(numSequences);
    const numAdded = numSequences * (numNodes - 1);
    const addedMs = this.#passes.of(numSequences * numNodes, numSequences) - rootsMs;
    const leastMs = MIN_ROW_SHARE * numAdded * this.#passes.of(1);
    const levelMs = this.#passes.of(numSequences * this.#draftRows, numSequences);
    const sharingMs = sharesRows ? SHARING_SHARE * rootsMs : 0;
    return {
      size: numNodes * 1024 + 2 * depth + (sharesRows ? 1 : 0),
      numNodes,
      parts: [rootsMs, depth * levelMs, Math.max(addedMs, leastMs) + sharingMs],
    };
  }
}
