// hidden[r] += product[r];  x[i] = hidden[r] / sqrt(mean(hidden[r]²) + EPSILON) · gain, where r = row_index[i]
//   hidden    vec4f [numRows, COLUMNS], COLUMNS = HIDDEN_SIZE / 4
//   gain      vec4f [COLUMNS]
//   row_index u32 [numOut], without a repetition
//   x         the input of the next product (activation_*.wgsl)
//   parts     the product, where there is one (residual_*.wgsl)
// One workgroup a row: thread t has columns t, t + WORKGROUP_SIZE, …; the threads' sums are added by group_sum.wgsl.
// Reference: reference/add-rms-norm.ts
@group(0) @binding(0) var<storage, read_write> hidden: array<vec4f>;
@group(0) @binding(1) var<storage, read> gain: array<vec4f>;
@group(0) @binding(2) var<storage, read> row_index: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_out: u32;

const TURNS = (COLUMNS + WORKGROUP_SIZE - 1) / WORKGROUP_SIZE;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = thread_index(group);
  if (i >= num_out) { return; }
  let row = row_index[i];
  var values: array<vec4f, TURNS>;
  var squares = vec4f();
  for (var turn = 0u; turn < TURNS; turn++) {
    let c = t + turn * WORKGROUP_SIZE;
    if (c < COLUMNS) {
      let v = residual(row, c);
      values[turn] = v;
      hidden[row * COLUMNS + c] = v;
      squares = fma(v, v, squares);
    }
  }
  let total = group_sum((squares.x + squares.y) + (squares.z + squares.w), t);
  let scale = inverseSqrt(total / f32(HIDDEN_SIZE) + EPSILON);
  for (var turn = 0u; turn < TURNS; turn++) {
    let c = t + turn * WORKGROUP_SIZE;
    if (c < COLUMNS) { write_activation(i, c, values[turn] * scale * gain[c]); }
  }
}
