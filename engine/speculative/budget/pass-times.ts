/** What so many rows take: one point of T(M), or of what it rises by. */
export interface PassCost {
  readonly numRows: number;
  readonly ms: number;
}

/** T(M, context) as measured at start-up; points by rising number of rows. */
export interface PassTable {
  /** Passes without context; at least one point. */
  readonly passes: readonly PassCost[];
  /** What each token of context adds, where every row is of another sequence and has as much; no points: nothing. */
  readonly perToken: readonly PassCost[];
  /**
   * What each further row of all trees adds to that, as a share of what their roots do: 0 where a tree's rows read keys together, or rows
   * are read side by side; 1 where each takes its own time.
   */
  readonly treeShare: number;
}

/** T(M, context) at start-up, for every number of rows. */
export class PassTimes {
  /** Tokens of context that a sequence of the batch has, on average. */
  context = 0;
  readonly #passes: Curve;
  readonly #perToken: Curve;
  readonly #treeShare: number;

  constructor({ passes, perToken, treeShare }: PassTable) {
    this.#passes = new Curve(passes);
    this.#perToken = new Curve(perToken);
    this.#treeShare = treeShare;
  }

  /** In ms, of rows that belong to so many sequences. */
  of(numRows: number, numSequences = numRows): number {
    const numOthers = Math.max(0, numRows / numSequences - 1);
    const perToken = this.#perToken.at(numSequences) * (1 + this.#treeShare * numOthers);
    return this.#passes.at(numRows) + this.context * perToken;
  }
}

/** Linear between its points; beyond the last as it rises over all of them, since kernels take rows by tiles. 0 without points. */
export class Curve {
  readonly #points: readonly PassCost[];
  /** Those that were asked for. */
  readonly #known = new Map<number, number>();

  constructor(points: readonly PassCost[]) {
    this.#points = points;
  }

  at(numRows: number): number {
    const ms = this.#known.get(numRows) ?? this.#interpolated(numRows);
    this.#known.set(numRows, ms);
    return ms;
  }

  #interpolated(numRows: number): number {
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    if (first === undefined || last === undefined) return 0;
    const next = this.#points.findIndex((point) => point.numRows >= numRows);
    const high = this.#points[next] ?? last;
    const low = (next < 0 ? first : this.#points[next - 1]) ?? high;
    if (low === high) return high.numRows < numRows ? high.ms * (numRows / high.numRows) : high.ms;
    return low.ms + ((numRows - low.numRows) / (high.numRows - low.numRows)) * (high.ms - low.ms);
  }
}
