/** The cache after the moves [from slot, to slot], one after the other: cache [numSlots, slotSize]. */
export function commitKvReference(
  cache: Float32Array,
  slotSize: number,
  moves: readonly (readonly [from: number, to: number])[],
): Float32Array {
  const out = cache.slice();
  for (const [from, to] of moves) out.copyWithin(to * slotSize, from * slotSize, (from + 1) * slotSize);
  return out;
}
