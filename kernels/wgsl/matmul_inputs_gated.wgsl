// Inputs of a product on subgroup matrices that its workgroups make themselves: x[m, i] = silu(g) · u of a product (gated.wgsl), as
// silu_mul.wgsl would write them, to the bit. A tile's 64 inputs of TOKENS rows go to workgroup memory, in rows of 64 and room for 8
// more, as weights do (weights_staged.wgsl). COLUMNS is 1, so that the rows are those of one matrix.
//   parts  the product (product_sum.wgsl)
// Rows past the last one of the pass are not made: what a matrix has in their place goes to rows of y that nobody reads.
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
var<immediate> num_rows: u32;

const INPUT_ROW = 9u;
var<workgroup> staged_inputs: array<vec4u, TOKENS * INPUT_ROW>;

// A lane makes eight inputs of a row in a turn.
fn stage_inputs(tile: u32, first_row: u32, lane: u32) {
  for (var i = lane; i < TOKENS * 8u; i += SUBGROUP_SIZE) {
    let row = i / 8u;
    let column = i % 8u;
    if (first_row + row < num_rows) {
      let at = tile * 16u + 2u * column;
      staged_inputs[row * INPUT_ROW + column] = vec4u(four_inputs(first_row + row, at), four_inputs(first_row + row, at + 1u));
    }
  }
}

// Padding to whole tiles is zero.
fn four_inputs(row: u32, column: u32) -> vec2u {
  if (SIZE % 64 != 0 && column >= GATE_COLUMNS) { return vec2u(); }
  return bitcast<vec2u>(to_halves(gated(row, column)));
}

// Inputs 16 · column … 16 · column + 15 of the staged rows.
fn inputs(column: u32, row: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&staged_inputs, column % 4u * 2u, INPUT_ROW);
}
