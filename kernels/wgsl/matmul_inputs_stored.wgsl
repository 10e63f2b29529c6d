// Inputs of a product on subgroup matrices as another kernel wrote them (activation_tiles.wgsl): x f16 [INPUT_TILES · 4, X_ROWS, 16].
@group(0) @binding(1) var<storage, read> x: array<f16>;

fn stage_inputs(tile: u32, row: u32, lane: u32) {}

// Inputs 16 · column … 16 · column + 15 of TOKENS rows.
fn inputs(column: u32, row: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&x, (column * X_ROWS + row) * 16u, 16u);
}
