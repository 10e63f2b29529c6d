import { loadClass } from "./load-class.ts";

/** A step in which all trees have one size. */
export interface StepShape {
  readonly numSequences: number;
  /** Of a tree, root included. */
  readonly numNodes: number;
  readonly depth: number;
}

/** What steps of a size take beyond what their parts say, as a standard deviation in log ratio. */
const SPREAD = 0.1;
/** And of a step from what others of its size take: steps of a few seconds err together, with the machine. */
const NOISE = 0.3;
/** Weight of a new observation of that at least. */
const LEAST_RATE = 0.015;
/** Steps after which one that was observed counts half. */
const HALF_LIFE = 2048;

interface Seen {
  /** Steps of the size, and of all when the latest of them was seen. */
  readonly count: number;
  readonly at: number;
  /** Their mean log ratio to what their parts say. */
  readonly offset: number;
}

const NEVER_SEEN: Seen = { count: 0, at: 0, offset: 0 };

/** By size and load: what steps take beyond what their parts say. */
export class SizeOffsets {
  readonly #seen = new Map<number, Seen>();
  #numSteps = 0;

  /** Steps of all sizes. */
  get numSteps(): number {
    return this.#numSteps;
  }

  /** Steps of a size that were seen lately. */
  countOf(size: StepShape): number {
    return this.#countOf(this.#of(size));
  }

  /** A log ratio: less sure, and so less of it, the fewer steps there were lately. */
  of(size: StepShape): number {
    const seen = this.#of(size);
    return seen.offset * known(this.#countOf(seen));
  }

  /** How sure that is. */
  varianceOf(size: StepShape): number {
    return SPREAD ** 2 * (1 - known(this.countOf(size)));
  }

  /** Notes that a step of this size came. @returns whether it is the first: it pays for what it is the first to need, and tells nothing */
  meet(size: StepShape): boolean {
    const key = keyOf(size);
    if (this.#seen.has(key)) return false;
    this.#seen.set(key, { count: 0, at: this.#numSteps, offset: 0 });
    return true;
  }

  /** @param logRatio of what a step took to what its parts say */
  observe(size: StepShape, logRatio: number): void {
    const seen = this.#of(size);
    const count = this.#countOf(seen) + 1;
    const mean = seen.offset + (logRatio - seen.offset) * Math.max(1 / count, LEAST_RATE);
    this.#seen.set(keyOf(size), { count, at: this.#numSteps, offset: mean });
    this.#numSteps++;
  }

  #of(size: StepShape): Seen {
    return this.#seen.get(keyOf(size)) ?? NEVER_SEEN;
  }

  #countOf({ count, at }: Seen): number {
    return count * 0.5 ** ((this.#numSteps - at) / HALF_LIFE);
  }
}

/** Of what so many steps show: a variance in log ratio. */
export function sizeNoise(numSteps: number): number {
  return NOISE ** 2 / numSteps;
}

/** Share of what sets a size apart that so many steps have told. */
export function known(numSteps: number): number {
  return numSteps / (numSteps + NOISE ** 2 / SPREAD ** 2);
}

export function isSameSize(one: StepShape, other: StepShape): boolean {
  return keyOf(one) === keyOf(other);
}

/** A number, since every step asks for some: as digits of nodes, depth and load, the latter two below 1024. */
function keyOf({ numSequences, numNodes, depth }: StepShape): number {
  return (numNodes * 1024 + depth) * 1024 + loadClass(numSequences);
}
