/** Loads that are about alike share what is learned of them: log₂ of the number of sequences, rounded. */
export function loadClass(numSequences: number): number {
  return Math.round(Math.log2(Math.max(1, numSequences)));
}

/** What is known of the nearest load of which something is known, of the first of two; undefined where nothing is. */
export function nearestLoad<T>(known: ReadonlyMap<number, T>, load: number): T | undefined {
  let nearest: readonly [number, T] | undefined;
  for (const one of known) {
    if (nearest === undefined || Math.abs(one[0] - load) < Math.abs(nearest[0] - load)) nearest = one;
  }
  return nearest?.[1];
}
