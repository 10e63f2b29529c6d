import type { TreeLimits } from "../../../scheduler/output.ts";
import { isSame } from "./way-in-use.ts";

/** A look at another way to decode than the one in use. */
export class Trial {
  readonly limits: TreeLimits;
  /** log₂ of the load that it is for. */
  readonly load: number;
  readonly #numSteps: number;
  #numSeen = 0;

  /** @param numSteps in all */
  constructor(limits: TreeLimits, load: number, numSteps: number) {
    this.limits = limits;
    this.load = load;
    this.#numSteps = numSteps;
  }

  /** Steps of it so far. */
  get numSeen(): number {
    return this.#numSeen;
  }

  get isOver(): boolean {
    return this.#numSeen >= this.#numSteps;
  }

  /** Steps of what was in use before may still be under way when it begins: they are none of its own. */
  observe(limits: TreeLimits): void {
    if (isSame(limits, this.limits)) this.#numSeen++;
  }
}
