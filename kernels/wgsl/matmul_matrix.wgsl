// y[s, m, n] = Σ w[n, k] · x[m, k] over the s-th range of TILES_PER_RANGE · 64 inputs, on subgroup matrices: the consumer
// adds the ranges in ascending order (product_sum.wgsl).
//   weights  as weights_*_tiles.wgsl has them: `fetch` (to registers), `stage` (to workgroup memory, weights_staged.wgsl)
//   x        as matmul_inputs_*.wgsl has it: `stage_inputs` (of a tile, where it lies in no buffer), `inputs` (to a matrix)
//   y        f32 [numRanges, X_ROWS, Y_OUTPUTS]; these weights are of its columns from FIRST_OUTPUT on
// A workgroup is one subgroup, so that its barriers cost next to nothing: 16 · FEATURES (1 or 2) outputs of TOKENS · COLUMNS
// (1, 2 or 4) rows over one range. Grid: (outputs, ranges, rows). The next tile of weights is on its way while this one is multiplied.
// Matrices have names: drivers keep an array that a loop indexes in memory, which is up to five times slower.
// A row's sums never depend on FEATURES, TOKENS and COLUMNS: each takes its inputs 16 at a time in ascending order.
// Rows past the last one of the pass are computed and never read. Reference: reference/matmul.ts
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

alias Right = subgroup_matrix_right<f16, TOKENS, 16>;
alias Sum = subgroup_matrix_result<f32, TOKENS, 16>;

fn store(sum: Sum, range: u32, row: u32, output: u32) {
  subgroupMatrixStore<col_major>(&y, (range * X_ROWS + row) * Y_OUTPUTS + FIRST_OUTPUT + output, sum, Y_OUTPUTS);
}

@compute @workgroup_size(SUBGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.z * TOKENS * COLUMNS;
  let first_tile = group.y * TILES_PER_RANGE;
  let near = group.x * FEATURES * INPUT_TILES + first_tile;
  let far = near + INPUT_TILES;
  var near_0 = Sum();
  var near_1 = Sum();
  var near_2 = Sum();
  var near_3 = Sum();
  var far_0 = Sum();
  var far_1 = Sum();
  var far_2 = Sum();
  var far_3 = Sum();
  var near_chunk = fetch(near, lane);
  var far_chunk = near_chunk;
  if (FEATURES == 2) { far_chunk = fetch(far, lane); }
  for (var t = 0u; t < TILES_PER_RANGE; t++) {
    // Ahead of what waits for the weights, which are still on their way.
    stage_inputs(first_tile + t, row, lane);
    stage(near_chunk, 0u, lane);
    if (FEATURES == 2) { stage(far_chunk, 1u, lane); }
    workgroupBarrier();
    if (t + 1u < TILES_PER_RANGE) {
      near_chunk = fetch(near + t + 1u, lane);
      if (FEATURES == 2) { far_chunk = fetch(far + t + 1u, lane); }
    }
    for (var step = 0u; step < 4u; step++) {
      let column = (first_tile + t) * 4u + step;
      let near_w = staged_weights(0u, step);
      let far_w = staged_weights(FEATURES - 1u, step);
      let x_0 = inputs(column, row);
      near_0 = subgroupMatrixMultiplyAccumulate(near_w, x_0, near_0);
      if (FEATURES == 2) { far_0 = subgroupMatrixMultiplyAccumulate(far_w, x_0, far_0); }
      if (COLUMNS > 1) {
        let x_1 = inputs(column, row + TOKENS);
        near_1 = subgroupMatrixMultiplyAccumulate(near_w, x_1, near_1);
        if (FEATURES == 2) { far_1 = subgroupMatrixMultiplyAccumulate(far_w, x_1, far_1); }
      }
      if (COLUMNS > 2) {
        let x_2 = inputs(column, row + 2u * TOKENS);
        near_2 = subgroupMatrixMultiplyAccumulate(near_w, x_2, near_2);
        if (FEATURES == 2) { far_2 = subgroupMatrixMultiplyAccumulate(far_w, x_2, far_2); }
        let x_3 = inputs(column, row + 3u * TOKENS);
        near_3 = subgroupMatrixMultiplyAccumulate(near_w, x_3, near_3);
        if (FEATURES == 2) { far_3 = subgroupMatrixMultiplyAccumulate(far_w, x_3, far_3); }
      }
    }
    workgroupBarrier();
  }
  let output = group.x * FEATURES * 16u;
  store(near_0, group.y, row, output);
  if (FEATURES == 2) { store(far_0, group.y, row, output + 16u); }
  if (COLUMNS > 1) {
    store(near_1, group.y, row + TOKENS, output);
    if (FEATURES == 2) { store(far_1, group.y, row + TOKENS, output + 16u); }
  }
  if (COLUMNS > 2) {
    store(near_2, group.y, row + 2u * TOKENS, output);
    store(near_3, group.y, row + 3u * TOKENS, output);
    if (FEATURES == 2) {
      store(far_2, group.y, row + 2u * TOKENS, output + 16u);
      store(far_3, group.y, row + 3u * TOKENS, output + 16u);
    }
  }
}
