// out[i] = x[r] / sqrt(mean(x[r]²) + EPSILON) · gain, where r = row_index[i]
//   x         vec4f [numRows, HIDDEN_SIZE / 4]
//   gain      vec4f [HIDDEN_SIZE / 4]
//   row_index u32 [numOut]
//   out       vec4f [numOut, HIDDEN_SIZE / 4]
// One thread a row, sums in ascending order. Reference: reference/rms-norm.ts
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> gain: array<vec4f>;
@group(0) @binding(2) var<storage, read> row_index: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
var<immediate> num_out: u32;

const COLUMNS = HIDDEN_SIZE / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_out) { return; }
  let from_base = row_index[thread] * COLUMNS;
  var squares = vec4f();
  for (var c = 0u; c < COLUMNS; c++) {
    let v = x[from_base + c];
    squares = fma(v, v, squares);
  }
  let mean = ((squares.x + squares.y) + (squares.z + squares.w)) / f32(HIDDEN_SIZE);
  let scale = inverseSqrt(mean + EPSILON);
  let to_base = thread * COLUMNS;
  for (var c = 0u; c < COLUMNS; c++) {
    out[to_base + c] = x[from_base + c] * scale * gain[c];
  }
}
