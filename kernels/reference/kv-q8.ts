/**
 * Keys or values in 8 bits, a scale for each head of a token: x[i] ≈ scale · quants[i], scale = max |x| / 127.
 * @param rows f32 [numHeads, headDim]
 */
export function quantizeKv(rows: Float32Array, headDim: number): { quants: Int8Array; scales: Float32Array } {
  const quants = new Int8Array(rows.length);
  const scales = new Float32Array(rows.length / headDim);
  for (let head = 0; head < scales.length; head++) {
    let top = 0;
    for (let d = 0; d < headDim; d++) top = Math.max(top, Math.abs(rows[head * headDim + d] ?? 0));
    scales[head] = top / 127;
    if (top === 0) continue;
    for (let d = 0; d < headDim; d++) {
      quants[head * headDim + d] = Math.round(((rows[head * headDim + d] ?? 0) * 127) / top);
    }
  }
  return { quants, scales };
}

/** The same in the words of a cache (wgsl/attention_keys_cache_q8.wgsl): u32 [numHeads, 1 + headDim / 4]. */
export function packKv(rows: Float32Array, headDim: number): Uint32Array<ArrayBuffer> {
  const { quants, scales } = quantizeKv(rows, headDim);
  const headWords = 1 + headDim / 4;
  const words = new Uint32Array(scales.length * headWords);
  const bytes = new Int8Array(words.buffer);
  const floats = new Float32Array(words.buffer);
  for (const [head, scale] of scales.entries()) {
    floats[head * headWords] = scale;
    bytes.set(quants.subarray(head * headDim, (head + 1) * headDim), 4 * (head * headWords + 1));
  }
  return words;
}
