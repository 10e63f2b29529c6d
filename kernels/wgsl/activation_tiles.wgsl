// Inputs of a product in the order in which subgroup matrices load them: x vec4<f16> [X_COLUMNS / 4, X_ROWS, 4].
fn write_activation(row: u32, column: u32, value: vec4f) {
  x[((column / 4u) * X_ROWS + row) * 4u + column % 4u] = to_halves(value);
}
