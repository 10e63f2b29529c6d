// The residual stream as it is: what the first norm of a model reads.
fn residual(row: u32, column: u32) -> vec4f {
  return hidden[row * COLUMNS + column];
}
