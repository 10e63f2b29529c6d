/** Best nodes of a tree that tell how hard its text is, at most. */
const NUM_BEST = 3;
/** Trees before what was seen is believed by half. */
const NUM_PRIOR = 4;

/**
 * Deep trees are not drafted of the same texts as shallow ones, but when they are in use or looked at, and of 50 trees the mean of what is
 * accepted is off by 4 %. How much easier their texts were than those of all trees is told by the best nodes of the levels that
 * both have, which leaves half of that.
 */
export class TextShift {
  readonly #counts: Float64Array;
  /** By depth limit, of trees at least that deep: means of what their best nodes down to that depth, and to one less, promise. */
  readonly #own: Float64Array;
  readonly #above: Float64Array;

  constructor(maxDepth: number) {
    this.#counts = new Float64Array(maxDepth + 1);
    this.#own = new Float64Array(maxDepth + 1);
    this.#above = new Float64Array(maxDepth + 1);
  }

  /**
   * A tree at least `depth` deep.
   * @param survivals of its nodes down to `depth`, falling @param above the same down to one less
   * @param isWhole it has all nodes that could be drafted
   * @param window trees that means look back on
   */
  observe(
    depth: number,
    survivals: readonly number[],
    above: readonly number[],
    isWhole: boolean,
    window: number,
  ): void {
    const [numOwn, numAbove] = [numBest(depth), numBest(depth - 1)];
    if (!isWhole && (survivals.length < numOwn || above.length < numAbove)) return;
    const count = Math.min((this.#counts[depth] ?? 0) + 1, window);
    this.#counts[depth] = count;
    this.#own[depth] = movedTo(this.#own[depth] ?? 0, sumOf(survivals, numOwn), count);
    this.#above[depth] = movedTo(this.#above[depth] ?? 0, sumOf(above, numAbove), count);
  }

  /** Draft tokens by which trees of all texts promise more than those this deep did, or less. */
  at(depth: number): number {
    let shift = 0;
    for (let limit = 2; limit <= depth; limit++) {
      const count = this.#counts[limit] ?? 0;
      shift += (count / (count + NUM_PRIOR)) * ((this.#own[limit - 1] ?? 0) - (this.#above[limit] ?? 0));
    }
    return shift;
  }
}

/** Of the nodes down to a depth. The k best ones of a tree are no deeper than k, and so in every tree that has k nodes. */
function numBest(depth: number): number {
  return Math.min(NUM_BEST, depth);
}

function sumOf(survivals: readonly number[], count: number): number {
  let sum = 0;
  for (let i = 0; i < Math.min(count, survivals.length); i++) sum += survivals[i] ?? 0;
  return sum;
}

function movedTo(mean: number, value: number, count: number): number {
  return mean + (value - mean) / count;
}
