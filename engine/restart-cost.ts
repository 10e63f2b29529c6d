import type { ObservedStep } from "./speculative/budget/tree-policy.ts";

/** Steps and restarts that means look back on. */
const STEPS_KEPT = 1 - 1 / 64;
const RESTARTS_KEPT = 1 - 1 / 32;
/** Weight of a step without prompt rows that cost nothing: what steps take is thought to be the prompts' until they say otherwise. */
const PRIOR_WEIGHT = 2;

/** Sums over steps with prompts: their number, prompt rows x, ms lost y, and products. */
interface Sums {
  readonly count: number;
  readonly x: number;
  readonly y: number;
  readonly xx: number;
  readonly xy: number;
}

/**
 * What it costs that decoding on the device stops for newcomers and begins again, beyond what their prompts' rows take: time in which
 * the others would have had more tokens in steady decoding.
 */
export class RestartCost {
  /** Over the latest steady steps on the device. */
  #steadyTokens = 0;
  #steadyMs = 0;
  /** Of the steps with prompts; the first one is thought. */
  #prompts: Sums = { count: PRIOR_WEIGHT, x: 0, y: 0, xx: 0, xy: 0 };
  /** Lost by first steps of a run on the device, a run. */
  #startMs = 0;
  #openMs: number | undefined;

  /** 0 until steady decoding and restarts were seen. */
  get ms(): number {
    return this.#startMs + this.#promptMs;
  }

  observe({ numSequences, numRows, numEmitted, onDevice, isSteady, hasPrompt, stepMs }: ObservedStep): void {
    if (onDevice && isSteady) {
      this.#endStart();
      this.#steadyTokens = STEPS_KEPT * this.#steadyTokens + numEmitted;
      this.#steadyMs = STEPS_KEPT * this.#steadyMs + stepMs;
    }
    if (this.#steadyTokens === 0 || isSteady) return;
    const lostMs = stepMs - (numEmitted * this.#steadyMs) / this.#steadyTokens;
    if (onDevice) this.#openMs = (this.#openMs ?? 0) + lostMs;
    else {
      this.#endStart();
      if (hasPrompt) this.#addPrompt(numRows - numSequences, lostMs);
    }
  }

  /** Of a step with prompts, what does not grow with their rows: where the line of least squares meets none. */
  get #promptMs(): number {
    const { count, x, y, xx, xy } = this.#prompts;
    const spread = count * xx - x * x;
    const slope = spread > 0 ? Math.max(0, (count * xy - x * y) / spread) : 0;
    return Math.max(0, (y - slope * x) / count);
  }

  #endStart(): void {
    if (this.#openMs === undefined) return;
    this.#startMs += (1 - RESTARTS_KEPT) * (Math.max(0, this.#openMs) - this.#startMs);
    this.#openMs = undefined;
  }

  #addPrompt(numRows: number, ms: number): void {
    const { count, x, y, xx, xy } = this.#prompts;
    this.#prompts = {
      count: RESTARTS_KEPT * count + 1,
      x: RESTARTS_KEPT * x + numRows,
      y: RESTARTS_KEPT * y + ms,
      xx: RESTARTS_KEPT * xx + numRows * numRows,
      xy: RESTARTS_KEPT * xy + numRows * ms,
    };
  }
}
