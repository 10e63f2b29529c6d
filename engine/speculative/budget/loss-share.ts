/** Share of the time that may be lost the first time, and always. */
const FIRST = 0.04;
const LEAST = 0.006;

/**
 * Share of the time that may be lost to steps that are made to learn from: less each time, as more is known.
 * @param count how often there were such steps
 */
export function lossShare(count: number): number {
  return Math.max(LEAST, FIRST / (1 + count));
}
