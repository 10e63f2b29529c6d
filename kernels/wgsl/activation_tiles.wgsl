// Inputs of a product in the order in which subgroup matrices load them: x vec4<f16> [X_COLUMNS / 4, X_ROWS, 4]. Values that f16
// cannot hold become its largest.
fn write_activation(row: u32, column: u32, value: vec4f) {
  x[((column / 4u) * X_ROWS + row) * 4u + column % 4u] = vec4<f16>(clamp(value, vec4f(-65504.0), vec4f(65504.0)));
}
