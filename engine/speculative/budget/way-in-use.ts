import { NO_TREES, type TreeLimits } from "../../../scheduler/output.ts";

/** Time for which a decision stands, while neither the load changes nor a look ends: each takes the host some 20 to 200 µs. */
const DECIDE_EVERY_MS = 100;

/** The way to decode that looks at others are compared with, and how much longer it stands. */
export class WayInUse {
  /** Steps that show what it takes. */
  readonly #tellingSteps: number;
  #limits: TreeLimits = NO_TREES;
  /** log₂ of the load that it is for; undefined before the first was chosen. */
  #load: number | undefined;
  #leftMs = 0;
  /** Since it was chosen. */
  #numSteps = 0;

  constructor(tellingSteps: number) {
    this.#tellingSteps = tellingSteps;
  }

  get limits(): TreeLimits {
    return this.#limits;
  }

  /** Whether it showed what it takes: that comes for nothing, and before that nothing else is worth a look. */
  get isSeen(): boolean {
    return this.#numSteps >= this.#tellingSteps;
  }

  /** Whether the latest step was the one that did: then others are compared with it. */
  get isJustSeen(): boolean {
    return this.#numSteps === this.#tellingSteps;
  }

  isFor(load: number): boolean {
    return this.#load === load;
  }

  stands(load: number): boolean {
    return this.isFor(load) && this.#leftMs > 0;
  }

  choose(limits: TreeLimits, load: number): void {
    const isFirst = this.#load === undefined;
    if (!isSame(limits, this.#limits) || !(isFirst || this.isFor(load))) this.#numSteps = 0;
    this.#limits = limits;
    this.#load = load;
    this.#leftMs = DECIDE_EVERY_MS;
  }

  /** A step, of this way or another. */
  observe(limits: TreeLimits, stepMs: number): void {
    this.#leftMs -= stepMs;
    if (!isSame(limits, this.#limits)) return;
    this.#numSteps++;
    if (this.isJustSeen) this.#leftMs = 0;
  }

  /** It is to be decided anew. Another look would have nothing to be compared with before this one's neighbours are seen. */
  endLook(): void {
    this.#leftMs = 0;
    this.#numSteps = 0;
  }
}

export function isSame(one: TreeLimits, other: TreeLimits): boolean {
  return one.numLookaheadNodes === other.numLookaheadNodes && one.maxDraftDepth === other.maxDraftDepth;
}
