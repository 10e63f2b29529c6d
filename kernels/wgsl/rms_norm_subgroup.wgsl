// out[i] = x[r] / sqrt(mean(x[r]²) + EPSILON) · gain, where r = row_index[i]
//   x         vec4f [numRows, HIDDEN_SIZE / 4]
//   gain      vec4f [HIDDEN_SIZE / 4]
//   row_index u32 [numOut]
//   out       vec4f [numOut, HIDDEN_SIZE / 4]
// One workgroup a row: thread t sums columns t, t + WORKGROUP_SIZE, …; the partial sums are added as a binary tree.
// Reference: reference/rms-norm.ts
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> gain: array<vec4f>;
@group(0) @binding(2) var<storage, read> row_index: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
var<immediate> num_out: u32;

const COLUMNS = HIDDEN_SIZE / 4u;
var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = thread_index(group);
  if (row >= num_out) { return; }
  let from_base = row_index[row] * COLUMNS;
  var squares = vec4f();
  for (var c = t; c < COLUMNS; c += WORKGROUP_SIZE) {
    let v = x[from_base + c];
    squares = fma(v, v, squares);
  }
  sums[t] = (squares.x + squares.y) + (squares.z + squares.w);
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    if (t < half) { sums[t] += sums[t + half]; }
    workgroupBarrier();
  }
  let scale = inverseSqrt(sums[0] / f32(HIDDEN_SIZE) + EPSILON);
  let to_base = row * COLUMNS;
  for (var c = t; c < COLUMNS; c += WORKGROUP_SIZE) {
    out[to_base + c] = x[from_base + c] * scale * gain[c];
  }
}
