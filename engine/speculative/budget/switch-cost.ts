import { loadClass } from "./load-class.ts";
import type { ObservedStep } from "./tree-policy.ts";

/** For so many starts counts what is thought before one was seen. */
const NUM_PRIOR = 2;
/** Starts that the mean looks back on. */
const WINDOW = 32;
/** A start that seems to cost more steps, or to gain more, was something else. */
const MOST_STEPS = 2;

interface Starts {
  readonly count: number;
  /** Lost by all of them. */
  readonly ms: number;
}

const NONE: Starts = { count: 0, ms: 0 };

/**
 * What it costs that a run on the device begins: the time of its first steps beyond what such steps take when they are steady. On a GPU the
 * host is not ready as soon as the device is, which is about a step; where steps take long it is next to nothing.
 */
export class SwitchCost {
  /** By log₂ of the load. */
  readonly #starts = new Map<number, Starts>();
  /** Of the start under way. */
  #open: { readonly load: number; readonly lostMs: number; readonly stepMs: number } | undefined;

  /** Of one start, in ms. @param thoughtMs what is thought before one was seen at this load */
  ms(numSequences: number, thoughtMs: number): number {
    const { count, ms } = this.#starts.get(loadClass(numSequences)) ?? NONE;
    return Math.max(0, (NUM_PRIOR * thoughtMs + ms) / (NUM_PRIOR + count));
  }

  /** @param steadyMs what such steps take when they are steady */
  observe({ numLanes, onDevice, isSteady, stepMs }: ObservedStep, steadyMs: () => number): void {
    if (onDevice && !isSteady) {
      const expectedMs = steadyMs();
      const lostMs = (this.#open?.lostMs ?? 0) + stepMs - expectedMs;
      this.#open = { load: loadClass(numLanes), lostMs, stepMs: expectedMs };
    } else if (this.#open) {
      this.#learn(this.#open.load, this.#open.lostMs, MOST_STEPS * this.#open.stepMs);
      this.#open = undefined;
    }
  }

  /** @param mostMs that is believed */
  #learn(load: number, lostMs: number, mostMs: number): void {
    const { count, ms } = this.#starts.get(load) ?? NONE;
    const kept = 1 - 1 / WINDOW;
    const believedMs = Math.max(-mostMs, Math.min(mostMs, lostMs));
    this.#starts.set(load, { count: kept * count + 1, ms: kept * ms + believedMs });
  }
}
