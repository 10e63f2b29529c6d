/** The store after `values` [slots.length, width] were written at `offset` of their slots: store [numSlots, size]. */
export function keepFeaturesReference(
  store: Float32Array,
  size: number,
  values: ArrayLike<number>,
  { slots, offset, width }: { readonly slots: readonly number[]; readonly offset: number; readonly width: number },
): Float64Array {
  const out = Float64Array.from(store);
  for (const [row, slot] of slots.entries()) {
    for (let i = 0; i < width; i++) out[slot * size + offset + i] = values[row * width + i] ?? 0;
  }
  return out;
}

/** Rows [rows.length, size] of the store [numSlots, size]: those at `slots[rows[i]]`. */
export function gatherFeaturesReference(
  store: Float32Array,
  size: number,
  slots: readonly number[],
  rows: readonly number[],
): Float32Array {
  const out = new Float32Array(rows.length * size);
  for (const [i, row] of rows.entries()) {
    const from = (slots[row] ?? 0) * size;
    out.set(store.subarray(from, from + size), i * size);
  }
  return out;
}
