// Folds a row's parts in ascending order by log-sum-exp and divides by the sum:
//   out[row, head] = Σc e(c) · partial[c] / Σc e(c) · sum[c],  e(c) = exp(max[c] − max over c)
//   out as in attention_out_*, partial and stats as in attention_result. Only the parts that a row has are read (attention_rows, num_parts).
// The first fold multiplies by exp(0) and adds to zero: a row of one part gives the bits that one pass gives.
// One thread 4 dimensions. Reference: reference/attention.ts
@group(0) @binding(1) var<storage, read> partial: array<vec4f>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let quad = thread % QUADS;
  let head = thread / QUADS % ROW_HEADS;
  let tile_row = thread / (ROW_HEADS * QUADS);
  if (tile_row >= params.num_rows) { return; }
  let row = params.first_row + tile_row;
  let base = (tile_row * ROW_HEADS + head) * params.num_splits;
  let parts = num_parts(info_of(row, head));
  var top = NO_SCORE;
  var total = 0.0;
  var acc = vec4f();
  for (var c = 0u; c < parts; c++) {
    let part = stats[base + c];
    let new_top = max(top, part.x);
    let keep = exp(top - new_top);
    let add = exp(part.x - new_top);
    acc = fma(partial[(base + c) * QUADS + quad], vec4f(add), acc * keep);
    total = fma(part.y, add, total * keep);
    top = new_top;
  }
  write_out(row, head, quad, finish(acc, total));
}
