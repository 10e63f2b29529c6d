// parts[s, m, n] = Σ w[n, k] · x[m, k] over the s-th range of TILES_PER_RANGE · 64 inputs, on subgroup matrices: the consumer
// adds the ranges in ascending order (product_sum.wgsl).
//   weights  as weights_*_tiles.wgsl has them: `fetch` (to registers), `stage` (to workgroup memory, weights_staged.wgsl)
//   x        f16 [INPUT_TILES · 4, X_ROWS, 16]
//   parts    f32 [numRanges, X_ROWS, NUM_OUTPUTS]
// A workgroup is one subgroup, so that its barriers cost next to nothing: 16 · FEATURES (1 or 2) outputs of TOKENS · COLUMNS rows
// over one range. Grid: (outputs, ranges, rows). The next tile of weights is on its way while this one is multiplied. What
// differs between the two features is written out: drivers keep an array that a loop walks through in memory.
// A row's sums never depend on FEATURES, TOKENS and COLUMNS: each takes its inputs 16 at a time in ascending order.
// Rows past the last one of the pass are computed and never read. Reference: reference/matmul.ts
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

alias Right = subgroup_matrix_right<f16, TOKENS, 16>;
alias Sum = subgroup_matrix_result<f32, TOKENS, 16>;

@compute @workgroup_size(SUBGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first_row = group.z * TOKENS * COLUMNS;
  let first_tile = group.y * TILES_PER_RANGE;
  let near = group.x * FEATURES * INPUT_TILES + first_tile;
  let far = near + INPUT_TILES;
  var near_sums: array<Sum, COLUMNS>;
  var far_sums: array<Sum, COLUMNS>;
  var near_chunk = fetch(near, lane);
  var far_chunk: Chunk;
  if (FEATURES == 2) { far_chunk = fetch(far, lane); }
  for (var t = 0u; t < TILES_PER_RANGE; t++) {
    stage(near_chunk, 0u, lane);
    if (FEATURES == 2) { stage(far_chunk, 1u, lane); }
    workgroupBarrier();
    if (t + 1u < TILES_PER_RANGE) {
      near_chunk = fetch(near + t + 1u, lane);
      if (FEATURES == 2) { far_chunk = fetch(far + t + 1u, lane); }
    }
    for (var step = 0u; step < 4u; step++) {
      let near_weights = staged_weights(0u, step);
      var far_weights: Left;
      if (FEATURES == 2) { far_weights = staged_weights(1u, step); }
      let column = (first_tile + t) * 4u + step;
      for (var c = 0u; c < COLUMNS; c++) {
        let inputs = subgroupMatrixLoad<Right, col_major>(&x, (column * X_ROWS + first_row + c * TOKENS) * 16u, 16u);
        near_sums[c] = subgroupMatrixMultiplyAccumulate(near_weights, inputs, near_sums[c]);
        if (FEATURES == 2) { far_sums[c] = subgroupMatrixMultiplyAccumulate(far_weights, inputs, far_sums[c]); }
      }
    }
    workgroupBarrier();
  }
  for (var c = 0u; c < COLUMNS; c++) {
    let to = (group.y * X_ROWS + first_row + c * TOKENS) * NUM_OUTPUTS + group.x * FEATURES * 16u;
    subgroupMatrixStore<col_major>(&parts, to, near_sums[c], NUM_OUTPUTS);
    if (FEATURES == 2) { subgroupMatrixStore<col_major>(&parts, to + 16u, far_sums[c], NUM_OUTPUTS); }
  }
}
