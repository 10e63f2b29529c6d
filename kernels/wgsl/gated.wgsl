// silu(g) · u of a product [numRows, 2 · SIZE] (product_sum.wgsl), four columns i at once: g = product[m, i], u = product[m, SIZE + i],
// silu(g) = g / (1 + exp(−g)). Every kernel that needs it calls this, so that its bits are the same in all.
const GATE_COLUMNS = SIZE / 4u;

fn gated(row: u32, column: u32) -> vec4f {
  let gate = product_sum(row, column);
  return gate / (1.0 + exp(-gate)) * product_sum(row, column + GATE_COLUMNS);
}
