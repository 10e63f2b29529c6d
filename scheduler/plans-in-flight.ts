import { invariant } from "../kvcache/invariant.ts";
import type { SchedulerOutput } from "./output.ts";
import type { Sequence } from "./sequence.ts";

/** Plans whose steps have not ended, in order. Blocks of their sequences may still be written. */
export class PlansInFlight {
  readonly #plans: SchedulerOutput[] = [];
  #numBegun = 0;

  get length(): number {
    return this.#plans.length;
  }

  get latest(): SchedulerOutput | undefined {
    return this.#plans.at(-1);
  }

  all(): readonly SchedulerOutput[] {
    return this.#plans;
  }

  /** Whether a step in flight may write the sequence's blocks. */
  hold(sequence: Sequence): boolean {
    return this.#plans.some(({ sequences }) => sequences.some((scheduled) => scheduled.sequence === sequence));
  }

  /** Plans whose steps give the sequence a token at least. */
  numSampling(sequence: Sequence): number {
    return this.#plans.filter(({ sequences }) =>
      sequences.some((scheduled) => scheduled.sequence === sequence && scheduled.needsSample),
    ).length;
  }

  begin(plan: Omit<SchedulerOutput, "stepId">): SchedulerOutput {
    const output = { stepId: this.#numBegun++, ...plan };
    this.#plans.push(output);
    return output;
  }

  /** The oldest has ended. */
  end(output: SchedulerOutput): void {
    this.#checkOldest(output);
    this.#plans.shift();
  }

  /** The oldest has failed, and with it all that build on it. */
  endAll(output: SchedulerOutput): void {
    this.#checkOldest(output);
    this.#plans.length = 0;
  }

  #checkOldest(output: SchedulerOutput): void {
    invariant(output === this.#plans[0], () => `step ${output.stepId} is not the oldest in flight`);
  }
}
