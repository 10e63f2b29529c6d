/**
 * What looking at an option is worth: the "knowledge gradient" of Frazier, Powell and Dayanik (A knowledge-gradient policy for
 * sequential information collection, 2008, section 2). Worths are normally distributed; after the look the better option is taken.
 *
 * @param lead by how much the option is thought to be worth more than the one in use, or less
 * @param variance of that difference as it is known now; at least 0
 * @param noise variance of what a look tells; positive
 * @returns by how much what is taken then is worth more on average, in the unit of `lead`; at least 0
 */
export function gainOfLooking(lead: number, variance: number, noise: number): number {
  // How far the look is expected to move what is thought, as a standard deviation.
  const spread = variance / Math.sqrt(variance + noise);
  if (!(spread > 0)) return 0;
  const z = -Math.abs(lead) / spread;
  return Math.max(0, spread * (density(z) + z * cumulative(z)));
}

function density(z: number): number {
  return Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI);
}

/** Of the normal distribution, to 10⁻⁷: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17. @param z at most 0 */
function cumulative(z: number): number {
  const t = 1 / (1 - 0.2316419 * z);
  const sum = [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153].reduce((rest, c) => (rest + c) * t, 0);
  return density(z) * sum;
}
