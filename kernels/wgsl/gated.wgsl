// silu(g) · u of a product [numRows, 2 · SIZE] (product_sum.wgsl), four columns i at once: g = product[m, i], u = product[m, SIZE + i]
// (silu.wgsl). Every kernel that needs it calls this, so that its bits are the same in all.
const GATE_COLUMNS = SIZE / 4u;

fn gated(row: u32, column: u32) -> vec4f {
  return silu(product_sum(row, column)) * product_sum(row, column + GATE_COLUMNS);
}
