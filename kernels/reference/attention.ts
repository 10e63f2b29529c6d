/**
 * Attention of one query over its keys, in f64: Σj softmax(scale · q · k[j] + bias[j]) · v[j]. No keys give zeros.
 * @param query f32 [headDim]
 * @param keys, values f32 [headDim] each, in order of position
 * @param scale by default 1 / √headDim
 * @param bias by default zeros
 */
export function attentionReference(
  query: Float32Array,
  keys: readonly Float32Array[],
  values: readonly Float32Array[],
  scale: number = 1 / Math.sqrt(query.length),
  bias: readonly number[] = [],
): Float64Array {
  const headDim = query.length;
  const scores = keys.map((key, j) => key.reduce((sum, k, d) => sum + k * (query[d] ?? 0), 0) * scale + (bias[j] ?? 0));
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const out = new Float64Array(headDim);
  values.forEach((value, j) => {
    for (let d = 0; d < headDim; d++) out[d] = (out[d] ?? 0) + ((weights[j] ?? 0) / total) * (value[d] ?? 0);
  });
  return out;
}

/** A row's slots in order of position: the table up to its linear length, then the tree keys of its own path. */
export function slotsOfRow(
  info: readonly [tableOffset: number, position: number, linearLen: number, listOffset: number],
  tables: Uint32Array,
  blockSize: number,
): number[] {
  const [tableOffset, position, linearLen, listOffset] = info;
  return Array.from({ length: position + 1 }, (_, at) => {
    const index = at < linearLen ? at : linearLen + (tables[listOffset + at - linearLen] ?? 0);
    return (tables[tableOffset + Math.floor(index / blockSize)] ?? 0) * blockSize + (index % blockSize);
  });
}
