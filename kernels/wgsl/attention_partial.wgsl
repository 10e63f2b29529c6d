// Attention of one row and up to 4 heads of one KV head over one split of positions [c · SPLIT, (c + 1) · SPLIT), from a
// fresh state: for each head
//   o = Σj exp(sj − max) · v[slot(j)],  stats = (max, Σj exp(sj − max)),  sj = scale · q · k[slot(j)]
// Keys in ascending position up to the row's own, 4 at a time from the split's start. Splits past it are not written.
//   qkv      vec4f [numRows, NUM_HEADS + 2 · NUM_KV_HEADS, HEAD_DIM / 4]
//   k_cache, v_cache  vec4<kv_t> [numSlots, NUM_KV_HEADS, HEAD_DIM / 4]
//   partial  vec4f [numRows, NUM_HEADS, numSplits, HEAD_DIM / 4];  stats vec2f [numRows, NUM_HEADS, numSplits]
// One thread a (row, split, run of 4 heads), no barriers. On software adapters a load costs more than a multiply: a query's
// values serve 4 keys, a key's values 4 heads. Where a run has fewer heads its last one is computed again; where the last
// four keys are fewer, the row's own key stands in with weight 0. Reference: reference/attention.ts
@group(0) @binding(0) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(1) var<storage, read> k_cache: array<vec4<kv_t>>;
@group(0) @binding(2) var<storage, read> v_cache: array<vec4<kv_t>>;
@group(0) @binding(3) var<storage, read> row_info: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read_write> partial: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> stats: array<vec2f>;
struct Params { num_rows: u32, num_splits: u32 }
var<immediate> params: Params;

const QUADS = HEAD_DIM / 4u;
const ALL_HEADS = NUM_HEADS + 2u * NUM_KV_HEADS;
const GROUP = NUM_HEADS / NUM_KV_HEADS;
const RUNS = (GROUP + 3u) / 4u;
const LOWEST = -3.0e38;

fn k4(at: vec4u, d: u32) -> mat4x4f {
  return mat4x4f(vec4f(k_cache[at.x + d]), vec4f(k_cache[at.y + d]), vec4f(k_cache[at.z + d]), vec4f(k_cache[at.w + d]));
}

fn v4(at: vec4u, d: u32) -> mat4x4f {
  return mat4x4f(vec4f(v_cache[at.x + d]), vec4f(v_cache[at.y + d]), vec4f(v_cache[at.z + d]), vec4f(v_cache[at.w + d]));
}

fn max4(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
fn sum4(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let run = thread % (NUM_KV_HEADS * RUNS);
  let split = (thread / (NUM_KV_HEADS * RUNS)) % params.num_splits;
  let row = thread / (NUM_KV_HEADS * RUNS * params.num_splits);
  if (row >= params.num_rows) { return; }
  let info = row_info[row];
  let first = split * SPLIT;
  if (first > info.y) { return; }
  let last = min(first + SPLIT - 1u, info.y);
  let kv_head = run / RUNS;
  let heads = min(vec4u(kv_head * GROUP + (run % RUNS) * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(kv_head * GROUP + GROUP - 1u));
  let q_at = (vec4u(row * ALL_HEADS) + heads) * QUADS;

  var slots: array<vec4u, SPLIT / 4u>;
  var weights: array<mat4x4f, SPLIT / 4u>;  // a column a head, a row a key
  var top = vec4f(LOWEST);
  let blocks = (last - first) / 4u + 1u;
  for (var b = 0u; b < blocks; b++) {
    let wanted = vec4u(first + 4u * b) + vec4u(0u, 1u, 2u, 3u);
    let p = min(wanted, vec4u(last));
    let slot = vec4u(slot_of(info, p.x), slot_of(info, p.y), slot_of(info, p.z), slot_of(info, p.w));
    let at = (slot * NUM_KV_HEADS + kv_head) * QUADS;
    var s0 = vec4f();
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    for (var d = 0u; d < QUADS; d++) {
      let k = k4(at, d);
      s0 += qkv[q_at.x + d] * k;
      s1 += qkv[q_at.y + d] * k;
      s2 += qkv[q_at.z + d] * k;
      s3 += qkv[q_at.w + d] * k;
    }
    let known = wanted <= vec4u(last);
    let scores = mat4x4f(
      select(vec4f(LOWEST), s0 * SCALE, known),
      select(vec4f(LOWEST), s1 * SCALE, known),
      select(vec4f(LOWEST), s2 * SCALE, known),
      select(vec4f(LOWEST), s3 * SCALE, known),
    );
    slots[b] = at;
    weights[b] = scores;
    top = max(top, vec4f(max4(scores[0]), max4(scores[1]), max4(scores[2]), max4(scores[3])));
  }
  var total = vec4f();
  for (var b = 0u; b < blocks; b++) {
    let scores = weights[b];
    let e = mat4x4f(
      exp(scores[0] - top.x),
      exp(scores[1] - top.y),
      exp(scores[2] - top.z),
      exp(scores[3] - top.w),
    );
    weights[b] = e;
    total += vec4f(sum4(e[0]), sum4(e[1]), sum4(e[2]), sum4(e[3]));
  }
  let out = (vec4u(row * NUM_HEADS) + heads) * params.num_splits + split;
  stats[out.x] = vec2f(top.x, total.x);
  stats[out.y] = vec2f(top.y, total.y);
  stats[out.z] = vec2f(top.z, total.z);
  stats[out.w] = vec2f(top.w, total.w);
  for (var d = 0u; d < QUADS; d++) {
    var acc0 = vec4f();
    var acc1 = vec4f();
    var acc2 = vec4f();
    var acc3 = vec4f();
    for (var b = 0u; b < blocks; b++) {
      let v = v4(slots[b], d);
      let weight = weights[b];
      acc0 += v * weight[0];
      acc1 += v * weight[1];
      acc2 += v * weight[2];
      acc3 += v * weight[3];
    }
    partial[out.x * QUADS + d] = acc0;
    partial[out.y * QUADS + d] = acc1;
    partial[out.z * QUADS + d] = acc2;
    partial[out.w * QUADS + d] = acc3;
  }
}
