/**
 * Attention of one query over its keys, in f64: Σj softmax(q · k[j] / √headDim) · v[j]. No keys give zeros.
 * @param query f32 [headDim]
 * @param keys, values f32 [headDim] each, in order of position
 */
export function attentionReference(
  query: Float32Array,
  keys: readonly Float32Array[],
  values: readonly Float32Array[],
): Float64Array {
  const headDim = query.length;
  const scores = keys.map((key) => key.reduce((sum, k, d) => sum + k * (query[d] ?? 0), 0) / Math.sqrt(headDim));
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const out = new Float64Array(headDim);
  values.forEach((value, j) => {
    for (let d = 0; d < headDim; d++) out[d] = (out[d] ?? 0) + ((weights[j] ?? 0) / total) * (value[d] ?? 0);
  });
  return out;
}

/** A row's slots in order of position: the block table up to its linear length, then its own path. */
export function slotsOfRow(
  info: readonly [tableOffset: number, position: number, linearLen: number, pathOffset: number],
  tables: Uint32Array,
  blockSize: number,
): number[] {
  const [tableOffset, position, linearLen, pathOffset] = info;
  return Array.from({ length: position + 1 }, (_, at) =>
    at < linearLen
      ? (tables[tableOffset + Math.floor(at / blockSize)] ?? 0) * blockSize + (at % blockSize)
      : (tables[pathOffset + at - linearLen] ?? 0),
  );
}
