/** Loads that are about alike share what is learned of them: log₂ of the number of sequences, rounded. */
export function loadClass(numSequences: number): number {
  return Math.round(Math.log2(Math.max(1, numSequences)));
}

/** What is known of the nearest load of which something is known; undefined where nothing is. */
export function nearestLoad<T>(known: ReadonlyMap<number, T>, load: number): T | undefined {
  const [nearest] = [...known].sort(([a], [b]) => Math.abs(a - load) - Math.abs(b - load));
  return nearest?.[1];
}
