// Weights of 16 outputs × 64 inputs on their way to a matrix: f16 in workgroup memory, FEATURES such tiles, in rows of 64 inputs and
// room for 8 more, which keeps the rows of a column in different banks. Loading matrices from here, after loads of 512 bytes side
// by side, is twice as fast on an H100 as loading them from storage.
const STAGED_ROW = 9u;
var<workgroup> staged: array<vec4u, FEATURES * 16 * STAGED_ROW>;
alias Left = subgroup_matrix_left<f16, 16, 16>;

// Inputs 16 · step … 16 · step + 15 of a tile.
fn staged_weights(feature: u32, step: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&staged, feature * 16u * STAGED_ROW + step * 2u, STAGED_ROW);
}
