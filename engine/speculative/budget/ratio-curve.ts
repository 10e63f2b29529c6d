/** Weight of a new observation never falls below this: old ones are forgotten. */
const MIN_RATE = 0.02;

interface Knot {
  /** Natural log of the ratio. */
  value: number;
  numObserved: number;
}

/**
 * A positive factor that depends on a count, learned from noisy observations: linear in log₂ of the count between knots at powers
 * of two, and constant beyond those that were observed. 1 where nothing was.
 */
export class RatioCurve {
  readonly #knots = new Map<number, Knot>();

  at(count: number): number {
    return Math.exp(this.#logAt(Math.log2(count)));
  }

  /** How often the count's neighbourhood was observed. */
  numObserved(count: number): number {
    return Math.max(...neighbours(count).map(({ at }) => this.#knots.get(at)?.numObserved ?? 0));
  }

  /** @param logRatio ln(observed / expected), where expected was made with `at(count)` */
  observe(count: number, logRatio: number): void {
    const near = neighbours(count).map(({ at, weight }) => {
      return { at, weight, knot: this.#knots.get(at) ?? { value: this.#logAt(at), numObserved: 0 } };
    });
    for (const { at, weight, knot } of near) {
      knot.value += weight * Math.max(1 / (knot.numObserved + 2), MIN_RATE) * logRatio;
      knot.numObserved += weight;
      this.#knots.set(at, knot);
    }
  }

  #logAt(position: number): number {
    let [low, high] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (const at of this.#knots.keys()) {
      if (at <= position) low = Math.max(low, at);
      if (at >= position) high = Math.min(high, at);
    }
    const [below, above] = [this.#knots.get(low)?.value, this.#knots.get(high)?.value];
    if (below === undefined || above === undefined) return below ?? above ?? 0;
    return low === high ? below : below + ((position - low) / (high - low)) * (above - below);
  }
}

/** The knots beside a count, with weights that sum to 1. */
function neighbours(count: number): { readonly at: number; readonly weight: number }[] {
  const position = Math.log2(count);
  const low = Math.floor(position);
  const share = position - low;
  return share === 0
    ? [{ at: low, weight: 1 }]
    : [
        { at: low, weight: 1 - share },
        { at: low + 1, weight: share },
      ];
}
