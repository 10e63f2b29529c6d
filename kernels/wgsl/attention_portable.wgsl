// Attention of one row and up to 4 heads of one KV head over one split of its positions, from a fresh state: for each head
//   o = Σj exp(sj − max) · v[j],  sj = scale · q · k[j] + bias[j],  keys in ascending position, in chunks of CHUNK that fold as parts do
//   q  io_quad [numBatches, ROW_HEADS, rows_per_batch, HEAD_DIM / 4];  the rest: attention_rows, attention_keys_*, attention_result
// One thread a (row, split, run of heads), no barriers. On software adapters a load costs more than a multiply: a query's values
// serve 4 keys, a key's values HEADS heads: 4, or 1 where heads have keys of their own. Where a run has fewer heads its last one
// is computed again; where the last four keys are fewer, the last key stands in with weight 0. Reference: reference/attention.ts
@group(0) @binding(5) var<storage, read> q: array<io_quad>;

const GROUP = NUM_HEADS / NUM_KV_HEADS;
const RUNS = (GROUP + HEADS - 1) / HEADS;

fn k4(at: vec4u, d: u32) -> mat4x4f { return mat4x4f(k_quad(at.x + d), k_quad(at.y + d), k_quad(at.z + d), k_quad(at.w + d)); }
fn v4(at: vec4u, d: u32) -> mat4x4f { return mat4x4f(v_quad(at.x + d), v_quad(at.y + d), v_quad(at.z + d), v_quad(at.w + d)); }
fn max4(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
fn sum4(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let run = thread % (NUM_KV_HEADS * RUNS);
  let split = (thread / (NUM_KV_HEADS * RUNS)) % params.num_splits;
  let tile_row = thread / (NUM_KV_HEADS * RUNS * params.num_splits);
  if (tile_row >= params.num_rows) { return; }
  let row = params.first_row + tile_row;
  let kv_head = run / RUNS;
  let offsets = select(vec4u(), vec4u(0u, 1u, 2u, 3u), HEADS > 1);
  let first_head = row_head(kv_head * GROUP);
  let heads = min(vec4u(first_head + (run % RUNS) * HEADS) + offsets, vec4u(first_head + GROUP - 1u));
  let info = info_of(row, heads.x);
  let first = split * params.split_size;
  let end = min(first + params.split_size, num_keys(info));
  if (first >= end && split > 0u) { return; }
  let q_at = vec4u(
    io_index(row, heads.x, ROW_HEADS),
    io_index(row, heads.y, ROW_HEADS),
    io_index(row, heads.z, ROW_HEADS),
    io_index(row, heads.w, ROW_HEADS),
  ) * QUADS;

  var places: array<vec4u, CHUNK / 4>;
  var weights: array<mat4x4f, CHUNK / 4>;  // a column a head, a row a key
  var acc: array<mat4x4f, QUADS>;          // a column a head
  var top = vec4f(NO_SCORE);
  var total = vec4f();
  for (var start = first; start < end; start += CHUNK) {
    let last = min(start + CHUNK, end) - 1u;
    let blocks = (last - start) / 4u + 1u;
    var chunk_top = vec4f(NO_SCORE);
    for (var b = 0u; b < blocks; b++) {
      let wanted = vec4u(start + 4u * b) + vec4u(0u, 1u, 2u, 3u);
      let p = min(wanted, vec4u(last));
      let at = vec4u(
        key_quad(row, info, p.x, kv_head),
        key_quad(row, info, p.y, kv_head),
        key_quad(row, info, p.z, kv_head),
        key_quad(row, info, p.w, kv_head),
      );
      var s = mat4x4f();
      for (var d = 0u; d < QUADS; d++) {
        let k = k4(at, d);
        s[0] += from_io(q[q_at.x + d]) * k;
        if (HEADS > 1) {
          s[1] += from_io(q[q_at.y + d]) * k;
          s[2] += from_io(q[q_at.z + d]) * k;
          s[3] += from_io(q[q_at.w + d]) * k;
        }
      }
      let bias = vec4f(bias_at(info, p.x), bias_at(info, p.y), bias_at(info, p.z), bias_at(info, p.w));
      let known = wanted <= vec4u(last);
      let scores = mat4x4f(
        select(vec4f(NO_SCORE), s[0] * params.scale + bias, known),
        select(vec4f(NO_SCORE), s[1] * params.scale + bias, known),
        select(vec4f(NO_SCORE), s[2] * params.scale + bias, known),
        select(vec4f(NO_SCORE), s[3] * params.scale + bias, known),
      );
      places[b] = at;
      weights[b] = scores;
      chunk_top = max(chunk_top, vec4f(max4(scores[0]), max4(scores[1]), max4(scores[2]), max4(scores[3])));
    }
    var chunk_total = vec4f();
    for (var b = 0u; b < blocks; b++) {
      let known = vec4u(start + 4u * b) + vec4u(0u, 1u, 2u, 3u) <= vec4u(last);
      let scores = weights[b];
      let e = mat4x4f(
        select(vec4f(), exp(scores[0] - chunk_top.x), known),
        select(vec4f(), exp(scores[1] - chunk_top.y), known),
        select(vec4f(), exp(scores[2] - chunk_top.z), known),
        select(vec4f(), exp(scores[3] - chunk_top.w), known),
      );
      weights[b] = e;
      chunk_total += vec4f(sum4(e[0]), sum4(e[1]), sum4(e[2]), sum4(e[3]));
    }
    let new_top = max(top, chunk_top);
    let keep = exp(top - new_top);
    let add = exp(chunk_top - new_top);
    for (var d = 0u; d < QUADS; d++) {
      var sums = mat4x4f();
      for (var b = 0u; b < blocks; b++) {
        let v = v4(places[b], d);
        sums[0] += v * weights[b][0];
        if (HEADS > 1) {
          sums[1] += v * weights[b][1];
          sums[2] += v * weights[b][2];
          sums[3] += v * weights[b][3];
        }
      }
      acc[d] = mat4x4f(
        fma(sums[0], vec4f(add.x), acc[d][0] * keep.x),
        fma(sums[1], vec4f(add.y), acc[d][1] * keep.y),
        fma(sums[2], vec4f(add.z), acc[d][2] * keep.z),
        fma(sums[3], vec4f(add.w), acc[d][3] * keep.w),
      );
    }
    total = fma(chunk_total, add, total * keep);
    top = new_top;
  }
  // Heads past the run's last one are that one again: they write the same.
  for (var h = 0u; h < HEADS; h++) {
    write_stats(row, heads[h], split, top[h], total[h]);
    for (var d = 0u; d < QUADS; d++) { write_quad(row, heads[h], split, d, acc[d][h], total[h]); }
  }
}
