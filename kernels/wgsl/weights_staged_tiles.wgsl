// Weights of 16 outputs × 64 inputs on their way from quantised form to a matrix: f16 in workgroup memory, rows of 64 inputs and
// 8 more, which keeps the rows of a column in different banks.
const STAGED_ROW = 9u;
var<workgroup> staged: array<vec4u, FEATURES * 16 * STAGED_ROW>;
alias Left = subgroup_matrix_left<f16, 16, 16>;

fn left(feature: u32, tile: u32, step: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&staged, feature * 16u * STAGED_ROW + step * 2u, STAGED_ROW);
}
