/**
 * y[m, n] = Σk x[m, k] · w[n, k] in f64: x f32 [numRows, numInputs], weights f32 [numOutputs, numInputs] (row-major, before
 * `uploadMatrix`), y f64 [numRows, numOutputs].
 */
export function matmulReference(x: Float32Array, weights: Float32Array, numInputs: number): Float64Array {
  const numRows = x.length / numInputs;
  const numOutputs = weights.length / numInputs;
  const y = new Float64Array(numRows * numOutputs);
  for (let m = 0; m < numRows; m++) {
    for (let n = 0; n < numOutputs; n++) {
      let sum = 0;
      for (let k = 0; k < numInputs; k++) sum += (x[m * numInputs + k] ?? 0) * (weights[n * numInputs + k] ?? 0);
      y[m * numOutputs + n] = sum;
    }
  }
  return y;
}
