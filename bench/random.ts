/** Deterministic words of 32 bits, one a call (a linear congruential generator). */
export function randomWords(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

/** Deterministic bytes. */
export function randomBytes(count: number, seed = 1): Uint8Array<ArrayBuffer> {
  const next = randomWords(seed);
  return Uint8Array.from({ length: count }, () => next() >>> 24);
}

/** Deterministic values, evenly spread over [−bound, bound): 256 different ones. */
export function randomValues(count: number, bound: number, seed = 1): Float32Array<ArrayBuffer> {
  return Float32Array.from(randomBytes(count, seed), (byte) => (bound * (byte - 127.5)) / 127.5);
}
