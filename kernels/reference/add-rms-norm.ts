/** x / sqrt(mean(x²) + epsilon) · gain in f64, of each row of x f32 [numRows, gain.length]: hidden states with the product added. */
export function rmsNormReference(x: Float32Array, gain: Float32Array, epsilon: number): Float64Array {
  const size = gain.length;
  const out = new Float64Array(x.length);
  for (let from = 0; from < x.length; from += size) {
    let squares = 0;
    for (let i = 0; i < size; i++) squares += (x[from + i] ?? 0) ** 2;
    const scale = 1 / Math.sqrt(squares / size + epsilon);
    for (let i = 0; i < size; i++) out[from + i] = (x[from + i] ?? 0) * scale * (gain[i] ?? 0);
  }
  return out;
}
