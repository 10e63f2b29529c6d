import type { CommittedSequence, SchedulerOutput } from "../scheduler/output.ts";
import type { StepStats } from "./client.ts";
import type { Regrouping } from "./regrouping.ts";
import type { TreePolicy } from "./speculative/budget/tree-policy.ts";
import type { VerifiedSequence } from "./step.ts";
import { observedStep, type StepTimes, stepStats } from "./step-stats.ts";

/** A step that has been committed. */
export interface EndedStep {
  readonly output: SchedulerOutput;
  /** When its planning began. */
  readonly startMs: number;
  /** Steps before it whose results were not known when it was submitted. */
  readonly numBefore: number;
  readonly onDevice: boolean;
  /** Steps of the device that were submitted behind it before it ended. */
  readonly numBehind: number;
  /** Sequences that it had rows for, idle lanes included. */
  readonly numLanes: number;
  /** A plain step in which the drafter computed what it had not seen yet. */
  readonly catchesUp: boolean;
  readonly verified: readonly VerifiedSequence[];
  readonly committed: readonly CommittedSequence[];
  readonly times: Pick<StepTimes, "draftMs" | "pass" | "verifiedMs">;
}

/** Tells those who decide by what steps take, and listeners, of every step. Steps may overlap: a step's time is what it added to the time of the one before it. */
export class StepReports {
  readonly #policy: TreePolicy;
  readonly #regrouping: Regrouping;
  readonly #stepsInFlight: number;
  readonly #listeners = new Set<(stats: StepStats) => void>();
  #lastStepEndMs = 0;
  /** Tells of the latest step, of which only those have heard who decide what comes next. */
  #untold: (() => void) | undefined;

  /** @param stepsInFlight that may be at most */
  constructor(policy: TreePolicy, regrouping: Regrouping, stepsInFlight: number) {
    this.#policy = policy;
    this.#regrouping = regrouping;
    this.#stepsInFlight = stepsInFlight;
  }

  /** @returns the way to stop listening */
  listen(listener: (stats: StepStats) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Nothing was done for so long after the latest step: that is not the next one's time. */
  skip(ms: number): void {
    this.#lastStepEndMs += ms;
  }

  /**
   * Of each step once. Where others are under way the policy and listeners hear of it by `flush`, which is to follow as soon as the device has its
   * next step: they take the host 50 to 200 µs, for which an H200 would wait, whose steps take one or two ms.
   * @param load of the engine after the step
   */
  tell(step: EndedStep, load: Pick<StepStats, "numWaiting" | "numRunning" | "kvUsage">): void {
    const { output, startMs, numBefore, numBehind, onDevice, numLanes, catchesUp, verified, committed, times } = step;
    const endMs = performance.now();
    const begunMs = Math.max(startMs, this.#lastStepEndMs);
    this.#lastStepEndMs = endMs;
    const { draftMs } = times;
    // The first steps in flight were all submitted before the first was read: their times are not what each of them took.
    const tells = !catchesUp && (!onDevice || numBefore >= this.#stepsInFlight);
    const isLast = onDevice && this.#stepsInFlight > 1 && numBehind === 0;
    const stepMs = endMs - begunMs;
    const observed = observedStep(output, verified, { onDevice, numLanes, tells, isLast, catchesUp, draftMs, stepMs });
    this.#regrouping.observe(observed);
    this.#untold = () => {
      this.#policy.observe(observed);
      if (this.#listeners.size === 0) return;
      const after = { speculation: this.#policy.state, ...load };
      const stats = stepStats(output, verified, committed, { begunMs, endMs, ...times }, after);
      for (const listener of this.#listeners) listener(stats);
    };
    if (numBehind === 0) this.flush();
  }

  /** The policy and listeners hear of the latest step, if they have not yet. */
  flush(): void {
    const tell = this.#untold;
    this.#untold = undefined;
    tell?.();
  }
}
