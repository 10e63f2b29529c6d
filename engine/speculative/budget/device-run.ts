import type { ObservedStep } from "./tree-policy.ts";

/** Steps on the device, or ms, before what runs there is given up for something better: prompts stop it anyway, now and then. */
const LONG_STEPS = 64;
const LONG_MS = 2000;
/** Weight of the latest run in what runs are long. */
const RATE = 0.1;

/** The run on the device that is under way, and how long others before it were until they stopped for whatever reason. */
export class DeviceRun {
  #numSteps = 0;
  #ms = 0;
  #meanSteps = LONG_STEPS;

  /** So far. */
  get numSteps(): number {
    return this.#numSteps;
  }

  get isLong(): boolean {
    return this.#numSteps >= LONG_STEPS || this.#ms >= LONG_MS;
  }

  /** Of those before it, the latest ones counting most. */
  get meanSteps(): number {
    return this.#meanSteps;
  }

  observe({ onDevice, stepMs }: ObservedStep): void {
    if (!onDevice) return;
    this.#numSteps++;
    this.#ms += stepMs;
  }

  /** Another one may begin. */
  end(): void {
    if (this.#numSteps > 0) this.#meanSteps += RATE * (this.#numSteps - this.#meanSteps);
    [this.#numSteps, this.#ms] = [0, 0];
  }
}
