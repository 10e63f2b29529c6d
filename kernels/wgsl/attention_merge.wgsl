// Folds a row's splits in ascending order by log-sum-exp and divides by the sum:
//   out[row, head] = Σc e(c) · partial[c] / Σc e(c) · sum[c],  e(c) = exp(max[c] − max over c)
//   partial vec4f [numRows, NUM_HEADS, numSplits, HEAD_DIM / 4];  stats vec2f [numRows, NUM_HEADS, numSplits]
//   row_info vec4u [numRows] (.y is the position);  out vec4f [numRows, NUM_HEADS, HEAD_DIM / 4]
// One thread 4 dimensions. Reference: reference/attention.ts
@group(0) @binding(0) var<storage, read> partial: array<vec4f>;
@group(0) @binding(1) var<storage, read> stats: array<vec2f>;
@group(0) @binding(2) var<storage, read> row_info: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
struct Params { num_rows: u32, num_splits: u32 }
var<immediate> params: Params;

const QUADS = HEAD_DIM / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let row = thread / (NUM_HEADS * QUADS);
  if (row >= params.num_rows) { return; }
  let base = (thread / QUADS) * params.num_splits;
  let last = row_info[row].y / SPLIT;
  var top = -3.0e38;
  var total = 0.0;
  var acc = vec4f();
  for (var c = 0u; c <= last; c++) {
    let split = stats[base + c];
    let new_top = max(top, split.x);
    let keep = exp(top - new_top);
    let add = exp(split.x - new_top);
    acc = acc * keep + partial[(base + c) * QUADS + thread % QUADS] * add;
    total = total * keep + split.y * add;
    top = new_top;
  }
  out[thread] = acc / total;
}
