/** Weight of what was observed falls to half in about so many observations. */
const HALF_LIFE = 256;
const KEPT = 0.5 ** (1 / HALF_LIFE);

/**
 * A line through noisy observations, by least squares, older ones counting less. Until there are some it is the line that was
 * thought to be: two points of it count as observations for ever.
 */
export class LineFit {
  readonly #prior: readonly (readonly [x: number, y: number])[];
  readonly #priorWeight: number;
  #count = 0;
  #x = 0;
  #xx = 0;
  #y = 0;
  #xy = 0;

  /** @param priorWeight of each of the two points, in observations */
  constructor(prior: readonly [readonly [x: number, y: number], readonly [x: number, y: number]], priorWeight: number) {
    this.#prior = prior;
    this.#priorWeight = priorWeight;
  }

  /** How often it was observed; older observations count less. */
  get numObserved(): number {
    return this.#count;
  }

  observe(x: number, y: number): void {
    this.#count = KEPT * this.#count + 1;
    this.#x = KEPT * this.#x + x;
    this.#xx = KEPT * this.#xx + x * x;
    this.#y = KEPT * this.#y + y;
    this.#xy = KEPT * this.#xy + x * y;
  }

  /** The line at x; it never falls. */
  at(x: number): number {
    let [count, sumX, sumXX, sumY, sumXY] = [this.#count, this.#x, this.#xx, this.#y, this.#xy];
    for (const [px, py] of this.#prior) {
      count += this.#priorWeight;
      sumX += this.#priorWeight * px;
      sumXX += this.#priorWeight * px * px;
      sumY += this.#priorWeight * py;
      sumXY += this.#priorWeight * px * py;
    }
    const slope = Math.max(0, (count * sumXY - sumX * sumY) / (count * sumXX - sumX * sumX));
    return (sumY - slope * sumX) / count + slope * x;
  }
}
