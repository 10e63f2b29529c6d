// Keeps columns of hidden states after a norm as features: with v = hidden[row] + product[row]
//   features[slots[row], OFFSET …] = (v / sqrt(mean(v²) + EPSILON) · gain)[FIRST_COLUMN …], NUM_COLUMNS of them
//   gain  vec4f [COLUMNS];  the rest: feature_copy.wgsl
// One thread a row, sums in ascending order. Reference: reference/features.ts
@group(0) @binding(0) var<storage, read> hidden: array<vec4f>;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read_write> features: array<vec4<kv_t>>;
@group(0) @binding(4) var<storage, read> gain: array<vec4f>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = thread_index(id);
  if (row >= num_rows) { return; }
  var squares = vec4f();
  for (var c = 0u; c < COLUMNS; c++) {
    let v = hidden[row * COLUMNS + c] + product_sum(row, c);
    squares = fma(v, v, squares);
  }
  let scale = inverseSqrt(((squares.x + squares.y) + (squares.z + squares.w)) / f32(HIDDEN_SIZE) + EPSILON);
  for (var c = u32(FIRST_COLUMN); c < FIRST_COLUMN + NUM_COLUMNS; c++) {
    let v = hidden[row * COLUMNS + c] + product_sum(row, c);
    write_feature(slots[row], c, v * scale * gain[c]);
  }
}
