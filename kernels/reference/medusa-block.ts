/** x + silu(product + bias) in f64: x and product [numRows, bias.length]. */
export function medusaBlockReference(x: Float32Array, product: Float32Array, bias: Float32Array): Float64Array {
  return Float64Array.from(x, (before, i) => {
    const v = (product[i] ?? 0) + (bias[i % bias.length] ?? 0);
    return before + v / (1 + Math.exp(-v));
  });
}
