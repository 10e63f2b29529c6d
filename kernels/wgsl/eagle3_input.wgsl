// The input of EAGLE-3's layer: x[row] = [norm(half 0), norm(half 1)], norm(v) = v / sqrt(mean(v²) + EPSILON) · gain; hidden[row] = half 1
//   bindings and halves: eagle3_halves.wgsl
// One thread a half of a row, sums in ascending order. Reference: reference/eagle3.ts
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= 2u * num_rows) { return; }
  let row = thread / 2u;
  let half = thread % 2u;
  var squares = vec4f();
  for (var c = 0u; c < COLUMNS; c++) {
    let v = half_value(row, half, c);
    squares = fma(v, v, squares);
  }
  let scale = inverseSqrt(((squares.x + squares.y) + (squares.z + squares.w)) / f32(HIDDEN_SIZE) + EPSILON);
  for (var c = 0u; c < COLUMNS; c++) { write_half(row, half, c, half_value(row, half, c), scale); }
}
