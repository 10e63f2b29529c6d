// Attention of one row and head over one split of positions [c · SPLIT, (c + 1) · SPLIT), from a fresh state:
//   o = Σj exp(sj − max) · v[slot(j)],  stats = (max, Σj exp(sj − max)),  sj = scale · q · k[slot(j)]
// Keys in ascending position up to the row's own. Splits past it are not written.
//   q        vec4f [numRows, NUM_HEADS, HEAD_DIM / 4]
//   k_cache, v_cache  vec4<kv_t> [numSlots, NUM_KV_HEADS, HEAD_DIM / 4]
//   partial  vec4f [numRows, NUM_HEADS, numSplits, HEAD_DIM / 4];  stats vec2f [numRows, NUM_HEADS, numSplits]
// One thread a (row, split, head), no barriers. Reference: reference/attention.ts
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k_cache: array<vec4<kv_t>>;
@group(0) @binding(2) var<storage, read> v_cache: array<vec4<kv_t>>;
@group(0) @binding(3) var<storage, read> row_info: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read_write> partial: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> stats: array<vec2f>;
struct Params { num_rows: u32, num_splits: u32 }
var<immediate> params: Params;

const QUADS = HEAD_DIM / 4u;


@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let head = thread % NUM_HEADS;
  let split = (thread / NUM_HEADS) % params.num_splits;
  let row = thread / (NUM_HEADS * params.num_splits);
  if (row >= params.num_rows) { return; }
  let info = row_info[row];
  let first = split * SPLIT;
  if (first > info.y) { return; }
  let count = min(SPLIT, info.y + 1u - first);
  let q_at = (row * NUM_HEADS + head) * QUADS;
  let kv_head = head / (NUM_HEADS / NUM_KV_HEADS);

  var slots: array<u32, SPLIT>;
  var weights: array<f32, SPLIT>;
  var top = -3.0e38;
  for (var j = 0u; j < count; j++) {
    let k_at = (slot_of(info, first + j) * NUM_KV_HEADS + kv_head) * QUADS;
    var dots = vec4f();
    for (var d = 0u; d < QUADS; d++) {
      dots = fma(q[q_at + d], vec4f(k_cache[k_at + d]), dots);
    }
    let score = ((dots.x + dots.y) + (dots.z + dots.w)) * SCALE;
    slots[j] = k_at;
    weights[j] = score;
    top = max(top, score);
  }
  var total = 0.0;
  for (var j = 0u; j < count; j++) {
    let weight = exp(weights[j] - top);
    weights[j] = weight;
    total += weight;
  }
  let out = ((row * NUM_HEADS + head) * params.num_splits + split);
  stats[out] = vec2f(top, total);
  for (var d = 0u; d < QUADS; d++) {
    var acc = vec4f();
    for (var j = 0u; j < count; j++) {
      acc = fma(vec4f(weights[j]), vec4f(v_cache[slots[j] + d]), acc);
    }
    partial[out * QUADS + d] = acc;
  }
}
