// feature_norm.wgsl with one workgroup a row: thread t has columns t, t + WORKGROUP_SIZE, …; the threads' sums are added by
// group_sum.wgsl. Reference: reference/features.ts
@group(0) @binding(0) var<storage, read> hidden: array<vec4f>;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read_write> features: array<vec4<kv_t>>;
@group(0) @binding(4) var<storage, read> gain: array<vec4f>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = thread_index(group);
  if (row >= num_rows) { return; }
  var squares = vec4f();
  for (var c = t; c < COLUMNS; c += WORKGROUP_SIZE) {
    let v = hidden[row * COLUMNS + c] + product_sum(row, c);
    squares = fma(v, v, squares);
  }
  let total = group_sum((squares.x + squares.y) + (squares.z + squares.w), t);
  let scale = inverseSqrt(total / f32(HIDDEN_SIZE) + EPSILON);
  for (var c = FIRST_COLUMN + t; c < FIRST_COLUMN + NUM_COLUMNS; c += WORKGROUP_SIZE) {
    let v = hidden[row * COLUMNS + c] + product_sum(row, c);
    write_feature(slots[row], c, v * scale * gain[c]);
  }
}
