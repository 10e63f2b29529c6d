// parts[s, m, n] = Σ w[n, k] · x[m, k] over the s-th range of TILES_PER_RANGE · 64 inputs, on subgroup matrices: the consumer
// adds the ranges in ascending order (product_sum.wgsl).
//   weights  as weights_*_tiles.wgsl has them: `fetch` (to registers), `stage` (to workgroup memory), `left` (to a matrix)
//   x        f16 [INPUT_TILES · 4, X_ROWS, 16]
//   parts    f32 [numRanges, X_ROWS, NUM_OUTPUTS]
// A workgroup is one subgroup, so that its barriers cost next to nothing: 16 · FEATURES outputs of TOKENS · COLUMNS rows over one
// range. Grid: (outputs, ranges, rows). The next tile of weights is on its way while this one is multiplied.
// A row's sums never depend on FEATURES, TOKENS and COLUMNS: each takes its inputs 16 at a time in ascending order.
// Rows past the last one of the pass are computed and never read. Reference: reference/matmul.ts
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

alias Right = subgroup_matrix_right<f16, TOKENS, 16>;
alias Sum = subgroup_matrix_result<f32, TOKENS, 16>;

@compute @workgroup_size(SUBGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first_feature = group.x * FEATURES;
  let first_row = group.z * TOKENS * COLUMNS;
  let first_tile = group.y * TILES_PER_RANGE;
  var sums: array<Sum, FEATURES * COLUMNS>;
  var chunks: array<Chunk, FEATURES>;
  for (var f = 0u; f < FEATURES; f++) { chunks[f] = fetch((first_feature + f) * INPUT_TILES + first_tile, lane); }
  for (var t = 0u; t < TILES_PER_RANGE; t++) {
    for (var f = 0u; f < FEATURES; f++) { stage(chunks[f], f, lane); }
    workgroupBarrier();
    if (t + 1u < TILES_PER_RANGE) {
      for (var f = 0u; f < FEATURES; f++) { chunks[f] = fetch((first_feature + f) * INPUT_TILES + first_tile + t + 1u, lane); }
    }
    for (var step = 0u; step < 4u; step++) {
      var rows: array<Left, FEATURES>;
      for (var f = 0u; f < FEATURES; f++) { rows[f] = left(f, (first_feature + f) * INPUT_TILES + first_tile + t, step); }
      for (var c = 0u; c < COLUMNS; c++) {
        let at = (((first_tile + t) * 4u + step) * X_ROWS + first_row + c * TOKENS) * 16u;
        let inputs = subgroupMatrixLoad<Right, col_major>(&x, at, 16u);
        for (var f = 0u; f < FEATURES; f++) {
          sums[f * COLUMNS + c] = subgroupMatrixMultiplyAccumulate(rows[f], inputs, sums[f * COLUMNS + c]);
        }
      }
    }
    workgroupBarrier();
  }
  for (var f = 0u; f < FEATURES; f++) {
    for (var c = 0u; c < COLUMNS; c++) {
      let to = (group.y * X_ROWS + first_row + c * TOKENS) * NUM_OUTPUTS + (first_feature + f) * 16u;
      subgroupMatrixStore<col_major>(&parts, to, sums[f * COLUMNS + c], NUM_OUTPUTS);
    }
  }
}
