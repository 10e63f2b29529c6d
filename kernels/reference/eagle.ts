/** Rows [numRows, 2 · size]: the embedding of a row's token, then its feature, of the drafter's own where `isOwn` says so. */
export function eagleInputReference(
  table: Float32Array,
  size: number,
  rows: readonly { readonly tokenId: number; readonly slot: number; readonly isOwn: boolean }[],
  features: { readonly target: Float32Array; readonly own: Float32Array },
): Float32Array {
  const out = new Float32Array(rows.length * 2 * size);
  for (const [row, { tokenId, slot, isOwn }] of rows.entries()) {
    out.set(table.subarray(tokenId * size, (tokenId + 1) * size), row * 2 * size);
    const store = isOwn ? features.own : features.target;
    out.set(store.subarray(slot * size, (slot + 1) * size), (2 * row + 1) * size);
  }
  return out;
}

/** product + bias in f32: product [numRows, bias.length]. */
export function addBiasReference(product: Float32Array, bias: Float32Array): Float32Array {
  return product.map((value, i) => value + (bias[i % bias.length] ?? 0));
}
