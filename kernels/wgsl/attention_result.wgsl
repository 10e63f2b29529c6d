// Where a part of a row goes: to the result (attention_out_*.wgsl) where the pass has one split (that is then the whole row), else to scratch.
//   partial  vec4f [num_rows, ROW_HEADS, num_splits, HEAD_DIM / 4]   Σj exp(sj − max) · v[j], not divided
//   stats    vec2f [num_rows, ROW_HEADS, num_splits]   (max, Σj exp(sj − max))
@group(0) @binding(6) var<storage, read_write> partial: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> stats: array<vec2f>;

/** Place of a row's part in scratch, which the rows of a dispatch have to themselves. */
fn part_index(row: u32, head: u32, part: u32) -> u32 {
  return ((row - params.first_row) * ROW_HEADS + head) * params.num_splits + part;
}

fn write_quad(row: u32, head: u32, part: u32, quad: u32, sum: vec4f, total: f32) {
  if (params.num_splits == 1u) {
    write_out(row, head, quad, finish(sum, total));
  } else {
    partial[part_index(row, head, part) * QUADS + quad] = sum;
  }
}

fn write_stats(row: u32, head: u32, part: u32, top: f32, total: f32) {
  if (params.num_splits > 1u) { stats[part_index(row, head, part)] = vec2f(top, total); }
}
