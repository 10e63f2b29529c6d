/** silu(gate) · up in f64: gateUp f32 [numRows, 2, size], each row's gate before its up; the result [numRows, size]. */
export function siluMulReference(gateUp: Float32Array, size: number): Float64Array {
  const out = new Float64Array(gateUp.length / 2);
  for (let at = 0; at < out.length; at++) {
    const from = Math.floor(at / size) * 2 * size + (at % size);
    const gate = gateUp[from] ?? 0;
    out[at] = (gate / (1 + Math.exp(-gate))) * (gateUp[from + size] ?? 0);
  }
  return out;
}
