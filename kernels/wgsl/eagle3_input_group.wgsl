// eagle3_input.wgsl with one workgroup a half of a row: thread t has columns t, t + WORKGROUP_SIZE, …; the threads' sums are added by
// group_sum.wgsl. Reference: reference/eagle3.ts
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let i = thread_index(group);
  if (i >= 2u * num_rows) { return; }
  let row = i / 2u;
  let half = i % 2u;
  var squares = vec4f();
  for (var c = t; c < COLUMNS; c += WORKGROUP_SIZE) {
    let v = half_value(row, half, c);
    squares = fma(v, v, squares);
  }
  let total = group_sum((squares.x + squares.y) + (squares.z + squares.w), t);
  let scale = inverseSqrt(total / f32(HIDDEN_SIZE) + EPSILON);
  for (var c = t; c < COLUMNS; c += WORKGROUP_SIZE) { write_half(row, half, c, half_value(row, half, c), scale); }
}
