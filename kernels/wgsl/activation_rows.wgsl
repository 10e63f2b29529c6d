// Inputs of a product as rows: x vec4f [numRows, X_COLUMNS].
fn write_activation(row: u32, column: u32, value: vec4f) {
  x[row * X_COLUMNS + column] = value;
}
