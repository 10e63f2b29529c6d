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
/** Differences of more standard deviations are something else than noise. */
const MOST = 3;
/** Steps over which what stays is told from what does not: about as many as a look has, since it is what looks are off by. */
const LAG = 4;

/**
 * How noisy steps are, and how much of that stays for the next ones: from the differences of steps of one kind to the one before and to
 * the `LAG`th before. A gust that stays adds its variance once and `LAG` times to theirs, what is of one step alone adds twice its own to
 * both.
 */
export class Gusts {
  #toLast = FIRST.gust + 2 * FIRST.step;
  #toFar = LAG * FIRST.gust + 2 * FIRST.step;
  #count = NUM_PRIOR;
  #kind: number | undefined;
  /** Logs of the latest times in a row of that kind, the latest first. */
  #latest: readonly number[] = [];

  get noise(): Noise {
    const gust = (this.#toFar - this.#toLast) / (LAG - 1);
    return {
      gust: Math.max(LEAST.gust, gust),
      step: Math.max(LEAST.step, (this.#toLast - gust) / 2),
    };
  }

  /**
   * @param kind of step, of which all take about as long
   * @returns the middle one of the latest three in a row, in ms, since a single one may have waited for something else; undefined before
   *   there are three
   */
  observe(kind: number | undefined, ms: number): number | undefined {
    const now = Math.log(ms);
    const before = kind === this.#kind ? this.#latest : [];
    this.#kind = kind;
    this.#latest = [now, ...before].slice(0, LAG);
    const [last, lastButOne] = before;
    const far = before[LAG - 1];
    if (last === undefined || lastButOne === undefined) return undefined;
    if (far !== undefined) {
      this.#count = Math.min(WINDOW, this.#count + 1);
      this.#toLast = moved(this.#toLast, now - last, this.#count);
      this.#toFar = moved(this.#toFar, now - far, this.#count);
    }
    return Math.exp(middle(now, last, lastButOne));
  }
}

function middle(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

/** A mean of squares, with one more difference in it. */
function moved(variance: number, difference: number, count: number): number {
  return variance + (Math.min(difference ** 2, MOST ** 2 * variance) - variance) / count;
}
