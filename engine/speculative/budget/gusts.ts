/** Variances in log ratio. */
export interface Noise {
  /** Of what the machine's speed changes by from one step to the next. */
  readonly gust: number;
  /** Of what one step takes beyond that. */
  readonly step: number;
}

/** What is thought before anything was seen, and for how many pairs of steps that counts. */
const FIRST: Noise = { gust: 0.05 ** 2, step: 0.12 ** 2 };
const NUM_PRIOR = 32;
const WINDOW = 1000;
const LEAST: Noise = { gust: 0.01 ** 2, step: 0.03 ** 2 };
/** Larger differences, in log ratio, are something else than noise. */
const MOST = 0.5;

/**
 * How noisy steps are, and how much of that stays for the next ones: from the differences of steps of one kind to the one before and to
 * the one before that. A gust that stays adds its variance once and twice to theirs, what is of one step alone adds twice its own to both.
 */
export class Gusts {
  #toLast = FIRST.gust + 2 * FIRST.step;
  #toLastButOne = 2 * FIRST.gust + 2 * FIRST.step;
  #count = NUM_PRIOR;
  #kind: number | undefined;
  #last: readonly number[] = [];

  get noise(): Noise {
    const gust = this.#toLastButOne - this.#toLast;
    return {
      gust: Math.max(LEAST.gust, gust),
      step: Math.max(LEAST.step, (this.#toLast - gust) / 2),
    };
  }

  /** @param kind of step, of which all take about as long */
  observe(kind: number | undefined, ms: number): void {
    const now = Math.log(ms);
    const [last, lastButOne] = kind === this.#kind ? this.#last : [];
    this.#kind = kind;
    this.#last = last === undefined ? [now] : [now, last];
    if (last === undefined || lastButOne === undefined) return;
    this.#count = Math.min(WINDOW, this.#count + 1);
    this.#toLast += (squared(now - last) - this.#toLast) / this.#count;
    this.#toLastButOne += (squared(now - lastButOne) - this.#toLastButOne) / this.#count;
  }
}

function squared(difference: number): number {
  return Math.min(MOST, Math.abs(difference)) ** 2;
}
