// hidden[r] += product[r];  x[i] = hidden[r] / sqrt(mean(hidden[r]²) + EPSILON) · gain, where r = row_index[i]
//   hidden    vec4f [numRows, COLUMNS], COLUMNS = HIDDEN_SIZE / 4
//   gain      vec4f [COLUMNS]
//   row_index u32 [numOut], without a repetition
//   x         the input of the next product (activation_*.wgsl)
//   parts     the product, where there is one (residual_*.wgsl)
// One thread a row, sums in ascending order. Reference: reference/add-rms-norm.ts
@group(0) @binding(0) var<storage, read_write> hidden: array<vec4f>;
@group(0) @binding(1) var<storage, read> gain: array<vec4f>;
@group(0) @binding(2) var<storage, read> row_index: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_out: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_out) { return; }
  let row = row_index[thread];
  var squares = vec4f();
  for (var c = 0u; c < COLUMNS; c++) {
    let v = residual(row, c);
    hidden[row * COLUMNS + c] = v;
    squares = fma(v, v, squares);
  }
  let mean = ((squares.x + squares.y) + (squares.z + squares.w)) / f32(HIDDEN_SIZE);
  let scale = inverseSqrt(mean + EPSILON);
  for (var c = 0u; c < COLUMNS; c++) {
    write_activation(thread, c, hidden[row * COLUMNS + c] * scale * gain[c]);
  }
}
