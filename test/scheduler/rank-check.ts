import type { SchedulerOutput } from "../../scheduler/output.ts";
import type { Sequence } from "../../scheduler/sequence.ts";

/** A sequence that has not ended, with the rank that it was given when it came. */
export interface Ranked {
  readonly sequence: Sequence;
  readonly priority: number;
  /** How many came before it. */
  readonly arrival: number;
}

const isBehind = (a: Ranked, b: Ranked) =>
  a.priority > b.priority || (a.priority === b.priority && a.arrival > b.arrival);
const isRunning = ({ sequence }: Ranked) => sequence.status === "running";

/** Whether plans keep to ranks: who joins the batch, and who has to leave it. */
export class RankCheck {
  #runningBefore: ReadonlySet<Ranked> = new Set();

  beforePlan(live: readonly Ranked[]): void {
    this.#runningBefore = new Set(live.filter(isRunning));
  }

  /**
   * Counts sequences that gave up their places to more important ones.
   * @throws Error where someone left whom another one ranks behind, or waits though less important ones joined
   */
  checkPlan({ preemptedIds }: SchedulerOutput, live: readonly Ranked[]): number {
    const [running, waiting] = [live.filter(isRunning), live.filter((one) => !isRunning(one))];
    const joined = running.filter((one) => !this.#runningBefore.has(one));
    const left = waiting.filter((one) => this.#runningBefore.has(one));
    for (const { sequence } of left) {
      if (!preemptedIds.includes(sequence.id)) throw new Error(`${sequence.id} left the batch without a word`);
    }
    for (const one of left) {
      const other = running.find((stayed) => this.#runningBefore.has(stayed) && isBehind(stayed, one));
      if (other) throw new Error(`${one.sequence.id} had to leave, though ${other.sequence.id} ranks behind it`);
    }
    for (const one of joined) {
      const other = waiting.find(({ priority }) => priority < one.priority);
      if (other) throw new Error(`${one.sequence.id} joined, though ${other.sequence.id} is more important and waits`);
    }
    return joined.length > 0 ? left.length : 0;
  }
}
