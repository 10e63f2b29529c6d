/** The first stop in a whole text, by a look at every prefix: at one end the longest counts. */
export function firstStop(text: string, stops: readonly string[]): { end: number; length: number } | undefined {
  for (let end = 1; end <= text.length; end++) {
    const lengths = stops.filter((stop) => stop !== "" && text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
    if (lengths.length > 0) return { end, length: Math.max(...lengths) };
  }
  return undefined;
}

/**
 * How much of the end of a text without a stop some continuation would cut off. Any that does completes a stop that
 * begins in the text, so the rests of such stops are all the continuations to try.
 */
export function numPending(text: string, stops: readonly string[]): number {
  let pending = 0;
  for (const stop of stops) {
    for (let begun = 1; begun < stop.length; begun++) {
      if (!text.endsWith(stop.slice(0, begun))) continue;
      const match = firstStop(text + stop.slice(begun), stops);
      if (match) pending = Math.max(pending, text.length - (match.end - match.length));
    }
  }
  return pending;
}
