/** Logits [numRows, vocabSize] of reduced ones [numRows, stride]: of tokens without a place NaN. */
export function spreadLogitsReference(
  reduced: Float32Array,
  stride: number,
  places: readonly (number | undefined)[],
): Float32Array {
  const numRows = reduced.length / stride;
  return Float32Array.from({ length: numRows * places.length }, (_, i) => {
    const place = places[i % places.length];
    return place === undefined ? Number.NaN : (reduced[Math.floor(i / places.length) * stride + place] ?? Number.NaN);
  });
}
