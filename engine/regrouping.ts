import type { Newcomers } from "../scheduler/batch.ts";
import { RestartCost } from "./restart-cost.ts";
import type { ObservedStep } from "./speculative/budget/tree-policy.ts";

/** Longest that newcomers wait for others to come in with, in ms. */
const MOST_WAIT_MS = 20;
/** Groups of newcomers that their rate is taken from. */
const GROUPS_KEPT = 1 - 1 / 8;

/**
 * Decides when a run on the device stops so that newcomers come into the batch and idle lanes leave it. To stop and begin again costs all
 * lanes some steps, however many come in; a place that waits for its newcomer costs a share of each step. Newcomers who arrive at a steady
 * rate come in by groups, as a shop orders by lots (F. W. Harris, How many parts to make at once, 1913): where R ms are lost each time,
 * λ arrive a ms and B sequences run, groups of √(2 λ R B) lose the least. Where that is less than two, everyone comes in at once.
 */
export class Regrouping {
  readonly #cost = new RestartCost();
  /** Newcomers who came in, and the time of the steps in which they did; time of the steps since the last of them. */
  #numLetIn = 0;
  #letInMs = 0;
  #sinceMs = 0;
  /** Since when someone waits who could come in. */
  #waitingSinceMs: number | undefined;
  /** Newcomers came in with the latest step that was no continuation of a run. */
  #hasGrown = false;
  /** Running sequences beside whom the cache had no room for newcomers. */
  #fullWith: number | undefined;
  /** What idle lanes of the run under way have cost at most, in ms of all lanes, until when. */
  #idleMs = 0;
  #idleUntilMs = 0;

  observe(step: ObservedStep): void {
    this.#cost.observe(step);
    this.#sinceMs += step.stepMs;
  }

  /** Nothing was done for so long: nobody waited meanwhile, and no lane idled. */
  skip(ms: number): void {
    if (this.#waitingSinceMs !== undefined) this.#waitingSinceMs += ms;
    this.#idleUntilMs += ms;
  }

  /**
   * A step was planned that is no continuation of a run.
   * @param numAdmitted who came into the batch
   * @param fullWith running sequences, where the cache has no room for another one beside them
   */
  begin(numAdmitted: number, nowMs: number, fullWith?: number): void {
    [this.#idleMs, this.#idleUntilMs] = [0, nowMs];
    this.#hasGrown = numAdmitted > 0;
    this.#fullWith = fullWith;
    if (numAdmitted === 0) return;
    this.#numLetIn = GROUPS_KEPT * this.#numLetIn + numAdmitted;
    this.#letInMs = GROUPS_KEPT * this.#letInMs + this.#sinceMs;
    this.#sinceMs = 0;
    this.#waitingSinceMs = undefined;
  }

  /**
   * Whether newcomers are to wait: until more of them are there or, where the cache is full, until someone ends.
   * @param numRunning whom a stop would cost time
   */
  holds({ count, isUrgent }: Newcomers, numRunning: number, nowMs: number): boolean {
    if (isUrgent) return false;
    if (count === 0 || numRunning === this.#fullWith) {
      this.#waitingSinceMs = undefined;
      return true;
    }
    this.#waitingSinceMs ??= nowMs;
    const rate = this.#numLetIn / Math.max(1, this.#letInMs + this.#sinceMs);
    const group = Math.round(Math.sqrt(2 * rate * this.#cost.ms * numRunning));
    return count < group && nowMs - this.#waitingSinceMs < MOST_WAIT_MS;
  }

  /** The same for a step that is no continuation of a run: only right after others came in, as there is no run that would have to stop. */
  holdsAtStart(newcomers: Newcomers, numRunning: number, nowMs: number): boolean {
    return this.#hasGrown && this.holds(newcomers, numRunning, nowMs);
  }

  /** Whether a run with so many idle lanes is to go on, as to stop would cost more than they have. */
  keepsIdle(numIdle: number, numLanes: number, nowMs: number): boolean {
    this.#idleMs += (numIdle / numLanes) * (nowMs - this.#idleUntilMs);
    this.#idleUntilMs = nowMs;
    return this.#idleMs <= this.#cost.ms;
  }
}
