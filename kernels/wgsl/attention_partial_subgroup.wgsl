// As attention_partial, for GPUs: one workgroup a (head, split, row). Thread t scores keys t, t + WORKGROUP_SIZE, …;
// then every thread adds the weights of all keys in order, and owns output dimensions t, t + WORKGROUP_SIZE, ….
//   q        vec4f [numRows, NUM_HEADS, HEAD_DIM / 4]
//   k_cache  vec4<kv_t> [numSlots, NUM_KV_HEADS, HEAD_DIM / 4];  v_cache kv_t [numSlots, NUM_KV_HEADS, HEAD_DIM]
//   partial  f32 [numRows, NUM_HEADS, numSplits, HEAD_DIM];  stats vec2f [numRows, NUM_HEADS, numSplits]
// Reference: reference/attention.ts
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k_cache: array<vec4<kv_t>>;
@group(0) @binding(2) var<storage, read> v_cache: array<kv_t>;
@group(0) @binding(3) var<storage, read> row_info: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;
@group(0) @binding(6) var<storage, read_write> stats: array<vec2f>;
struct Params { num_rows: u32, num_splits: u32 }
var<immediate> params: Params;

const QUADS = HEAD_DIM / 4u;

var<workgroup> slots: array<u32, SPLIT>;
var<workgroup> scores: array<f32, SPLIT>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let head = group.x;
  let split = group.y;
  let row = group.z;
  let info = row_info[row];
  let first = split * SPLIT;
  let count = u32(clamp(i32(info.y) + 1 - i32(first), 0, i32(SPLIT)));
  let q_at = (row * NUM_HEADS + head) * QUADS;
  let kv_head = head / (NUM_HEADS / NUM_KV_HEADS);

  for (var j = t; j < count; j += WORKGROUP_SIZE) {
    let slot = slot_of(info, first + j) * NUM_KV_HEADS + kv_head;
    var dots = vec4f();
    for (var d = 0u; d < QUADS; d++) {
      dots = fma(q[q_at + d], vec4f(k_cache[slot * QUADS + d]), dots);
    }
    slots[j] = slot * HEAD_DIM;
    scores[j] = ((dots.x + dots.y) + (dots.z + dots.w)) * SCALE;
  }
  workgroupBarrier();
  var top = -3.0e38;
  for (var j = 0u; j < count; j++) { top = max(top, scores[j]); }
  workgroupBarrier();
  for (var j = t; j < count; j += WORKGROUP_SIZE) { scores[j] = exp(scores[j] - top); }
  workgroupBarrier();
  let out = (row * NUM_HEADS + head) * params.num_splits + split;
  if (t == 0u && count > 0u) {
    var total = 0.0;
    for (var j = 0u; j < count; j++) { total += scores[j]; }
    stats[out] = vec2f(top, total);
  }
  if (count == 0u) { return; }
  for (var d = t; d < HEAD_DIM; d += WORKGROUP_SIZE) {
    var acc = 0.0;
    for (var j = 0u; j < count; j++) { acc = fma(scores[j], f32(v_cache[slots[j] + d]), acc); }
    partial[out * HEAD_DIM + d] = acc;
  }
}
