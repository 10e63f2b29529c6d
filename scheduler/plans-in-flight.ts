import { invariant } from "../kvcache/invariant.ts";
import type { SchedulerOutput } from "./output.ts";
import type { Sequence } from "./sequence.ts";

/** Plans that a sequence is part of, those of them whose steps give it a token at least, and tokens that these give it at most. */
interface Counts {
  readonly numPlans: number;
  readonly numSampling: number;
  readonly mostTokens: number;
}

const NONE: Counts = { numPlans: 0, numSampling: 0, mostTokens: 0 };

/** Plans whose steps have not ended, in order. Blocks of their sequences may still be written. */
export class PlansInFlight {
  readonly #plans: SchedulerOutput[] = [];
  readonly #counts = new Map<Sequence, Counts>();
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
    return this.#countsOf(sequence).numPlans > 0;
  }

  /** Plans whose steps give the sequence a token at least. */
  numSampling(sequence: Sequence): number {
    return this.#countsOf(sequence).numSampling;
  }

  /** Tokens that the sequence has at most once all of them have ended. */
  mostTokens(sequence: Sequence): number {
    return sequence.numTokens + this.#countsOf(sequence).mostTokens;
  }

  begin(plan: Omit<SchedulerOutput, "stepId">): SchedulerOutput {
    const output = { stepId: this.#numBegun++, ...plan };
    this.#plans.push(output);
    this.#count(output, 1);
    return output;
  }

  /** The oldest has ended. */
  end(output: SchedulerOutput): void {
    this.#checkOldest(output);
    this.#plans.shift();
    this.#count(output, -1);
  }

  /** The oldest has failed, and with it all that build on it. */
  endAll(output: SchedulerOutput): void {
    this.#checkOldest(output);
    this.#plans.length = 0;
    this.#counts.clear();
  }

  #countsOf(sequence: Sequence): Counts {
    return this.#counts.get(sequence) ?? NONE;
  }

  #count({ sequences }: SchedulerOutput, change: 1 | -1): void {
    for (const { sequence, needsSample, maxDraftDepth } of sequences) {
      const before = this.#countsOf(sequence);
      const numPlans = before.numPlans + change;
      const numSampling = before.numSampling + (needsSample ? change : 0);
      const mostTokens = before.mostTokens + (needsSample ? change * (maxDraftDepth + 1) : 0);
      if (numPlans === 0) this.#counts.delete(sequence);
      else this.#counts.set(sequence, { numPlans, numSampling, mostTokens });
    }
  }

  #checkOldest(output: SchedulerOutput): void {
    invariant(output === this.#plans[0], () => `step ${output.stepId} is not the oldest in flight`);
  }
}
