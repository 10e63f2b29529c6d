// Inputs of a product on subgroup matrices that its workgroups make themselves: x[m, i] = silu(g) · u of a product (gated.wgsl), as
// silu_mul.wgsl would write them, to the bit. A tile's 64 inputs of TOKENS rows go to workgroup memory, in rows of 64 and room for 8
// more, as weights do (weights_staged.wgsl). COLUMNS is 1, so that the rows are those of one matrix.
//   parts  the product (product_sum.wgsl)
// Rows past the last one of the pass are not made: what a matrix has in their place goes to rows of y that nobody reads.
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
var<immediate> num_rows: u32;

const INPUT_ROW = 9u;
var<workgroup> staged_inputs: array<vec4u, TOKENS * INPUT_ROW>;

// A turn makes four rows, a lane eight inputs of one of them.
fn stage_inputs(tile: u32, first_row: u32, lane: u32) {
  let eight = lane % 8u;
  let column = tile * 16u + 2u * eight;
  for (var turn = 0u; turn < TOKENS / 4u; turn++) {
    let to = turn * 4u + lane / 8u;
    let row = first_row + to;
    if (row < num_rows) {
      staged_inputs[to * INPUT_ROW + eight] = vec4u(four_inputs(row, column), four_inputs(row, column + 1u));
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
