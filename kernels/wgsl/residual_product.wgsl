// The residual stream with a product added, and the product's partial sums (product_sum.wgsl).
@group(0) @binding(4) var<storage, read> parts: array<vec4f>;
fn residual(row: u32, column: u32) -> vec4f {
  return hidden[row * COLUMNS + column] + product_sum(row, column);
}
