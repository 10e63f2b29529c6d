/** Cells with fewer expected counts are taken together: in one alone a single count can be far off. */
const MIN_EXPECTED = 5;

/**
 * How likely counts at least this far from `expected` shares are by chance: Pearson's chi-square. Cells of share 0 must be
 * empty, or the answer is 0.
 */
export function chiSquareP(counts: readonly number[], shares: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const rare = { count: 0, expected: 0 };
  let statistic = 0;
  let degrees = -1;
  const add = (count: number, expected: number) => {
    statistic += (count - expected) ** 2 / expected;
    degrees++;
  };
  for (const [cell, share] of shares.entries()) {
    const count = counts[cell] ?? 0;
    if (share === 0 && count > 0) return 0;
    if (total * share >= MIN_EXPECTED) add(count, total * share);
    else {
      rare.count += count;
      rare.expected += total * share;
    }
  }
  if (rare.expected > 0) add(rare.count, rare.expected);
  return upperGamma(degrees / 2, statistic / 2);
}

/** Regularised upper incomplete gamma function Q(a, x) = 1 − P(a, x), by P's power series. Exact to about 1e-13 absolute. */
function upperGamma(a: number, x: number): number {
  if (x <= 0) return 1;
  let term = 1 / a;
  let sum = term;
  for (let n = 1; n < 10_000 && term > sum * 1e-16; n++) {
    term *= x / (a + n);
    sum += term;
  }
  return Math.max(0, 1 - Math.exp(a * Math.log(x) - x + Math.log(sum) - logGamma(a)));
}

/** log Γ of a multiple of ½, by Γ(a + 1) = a · Γ(a). */
function logGamma(a: number): number {
  let log = a % 1 === 0 ? 0 : Math.log(Math.PI) / 2;
  for (let b = a % 1 === 0 ? 1 : 0.5; b < a; b++) log += Math.log(b);
  return log;
}
