/** A pass of so many rows, as measured at start-up: one point of T(M). */
export interface PassCost {
  readonly numRows: number;
  readonly ms: number;
}

/** T(M) at start-up, for every number of rows. */
export class PassTimes {
  readonly #passes: readonly PassCost[];
  /** Those that were asked for. */
  readonly #known = new Map<number, number>();

  /** @param passes by rising number of rows; at least one point */
  constructor(passes: readonly PassCost[]) {
    this.#passes = passes;
  }

  /** In ms. */
  of(numRows: number): number {
    const ms = this.#known.get(numRows) ?? this.#interpolated(numRows);
    this.#known.set(numRows, ms);
    return ms;
  }

  /** Linear between its points; beyond the last as it rises over all of them, since kernels take rows by tiles. */
  #interpolated(numRows: number): number {
    const [first, last] = [this.#passes[0], this.#passes.at(-1)];
    if (first === undefined || last === undefined) throw new RangeError("no pass was measured");
    const next = this.#passes.findIndex((pass) => pass.numRows >= numRows);
    const high = this.#passes[next] ?? last;
    const low = (next < 0 ? first : this.#passes[next - 1]) ?? high;
    if (low === high) return high.numRows < numRows ? high.ms * (numRows / high.numRows) : high.ms;
    return low.ms + ((numRows - low.numRows) / (high.numRows - low.numRows)) * (high.ms - low.ms);
  }
}
