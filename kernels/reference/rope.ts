/**
 * One head's vector rotated in f64, in rotary "halves": dimension i pairs with i + headDim / 2 and both turn by
 * `position · inverseFrequencies[i]` radians (RoFormer, arXiv 2104.09864).
 */
export function rotate(head: ArrayLike<number>, inverseFrequencies: Float64Array, position: number): Float64Array {
  const half = inverseFrequencies.length;
  const out = new Float64Array(2 * half);
  for (let i = 0; i < half; i++) {
    const angle = position * (inverseFrequencies[i] ?? 0);
    const low = head[i] ?? 0;
    const high = head[i + half] ?? 0;
    out[i] = low * Math.cos(angle) - high * Math.sin(angle);
    out[i + half] = high * Math.cos(angle) + low * Math.sin(angle);
  }
  return out;
}
