/** The middle one of the values, the upper one where two are in the middle; 0 of none. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** Lower and upper end. */
export type Interval = readonly [number, number];

/**
 * Where the median of what the values are drawn from lies, by at least 95 % whatever their distribution: between the values of ranks k
 * and n + 1 - k, with the largest k for which a coin shows fewer than k heads in n throws by at most 2.5 % (Conover 1999, Practical
 * Nonparametric Statistics, 3.2). All of the values where they are too few for that, less than six.
 */
export function medianInterval(values: readonly number[]): Interval {
  const sorted = values.toSorted((a, b) => a - b);
  const n = sorted.length;
  let k = 0;
  for (let [chance, below] = [2 ** -n, 2 ** -n]; below <= 0.025; below += chance) {
    k++;
    chance *= (n - k + 1) / k;
  }
  const first = Math.max(0, k - 1);
  return [sorted[first] ?? 0, sorted[n - 1 - first] ?? 0];
}
