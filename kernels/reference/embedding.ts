/** Rows of `table` f32 [vocabSize, hiddenSize] chosen by `tokenIds`: f32 [tokenIds.length, hiddenSize]. */
export function embeddingReference(table: Float32Array, hiddenSize: number, tokenIds: Uint32Array): Float32Array {
  const out = new Float32Array(tokenIds.length * hiddenSize);
  tokenIds.forEach((token, row) => {
    out.set(table.subarray(token * hiddenSize, (token + 1) * hiddenSize), row * hiddenSize);
  });
  return out;
}
