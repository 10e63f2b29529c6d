// Attention of one row and head over one split of its positions, from a fresh state:
//   o = Σj exp(sj − max) · v[j],  sj = scale · q · k[j] + bias[j],  keys in ascending position, in chunks of CHUNK that fold as parts do
//   q  io_quad [numBatches, Q_HEADS, rows_per_batch, HEAD_DIM / 4];  the rest: attention_rows, attention_keys_*, attention_result
// One thread a (row, split, head), no barriers. Reference: reference/attention.ts
@group(0) @binding(5) var<storage, read> q: array<io_quad>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let head = thread % NUM_HEADS;
  let split = (thread / NUM_HEADS) % params.num_splits;
  let row = thread / (NUM_HEADS * params.num_splits);
  if (row >= params.num_rows) { return; }
  let info = info_of(row, head);
  let first = split * params.split_size;
  let end = min(first + params.split_size, num_keys(info));
  if (first >= end && split > 0u) { return; }
  let q_at = io_index(row, head, Q_HEADS) * QUADS;
  let kv_head = head / (NUM_HEADS / NUM_KV_HEADS);

  var places: array<u32, CHUNK>;
  var weights: array<f32, CHUNK>;
  var acc: array<vec4f, QUADS>;
  var top = NO_SCORE;
  var total = 0.0;
  for (var start = first; start < end; start += CHUNK) {
    let count = min(CHUNK, end - start);
    var chunk_top = NO_SCORE;
    for (var j = 0u; j < count; j++) {
      let place = key_quad(row, info, start + j, kv_head);
      var dots = vec4f();
      for (var d = 0u; d < QUADS; d++) {
        dots = fma(from_io(q[q_at + d]), k_quad(place + d), dots);
      }
      let score = ((dots.x + dots.y) + (dots.z + dots.w)) * params.scale + bias_at(info, start + j);
      places[j] = place;
      weights[j] = score;
      chunk_top = max(chunk_top, score);
    }
    var chunk_total = 0.0;
    for (var j = 0u; j < count; j++) {
      let weight = exp(weights[j] - chunk_top);
      weights[j] = weight;
      chunk_total += weight;
    }
    let new_top = max(top, chunk_top);
    let keep = exp(top - new_top);
    let add = exp(chunk_top - new_top);
    for (var d = 0u; d < QUADS; d++) {
      var sum = vec4f();
      for (var j = 0u; j < count; j++) {
        sum = fma(vec4f(weights[j]), v_quad(places[j] + d), sum);
      }
      acc[d] = fma(sum, vec4f(add), acc[d] * keep);
    }
    total = fma(chunk_total, add, total * keep);
    top = new_top;
  }
  write_stats(row, head, split, top, total);
  for (var d = 0u; d < QUADS; d++) { write_quad(row, head, split, d, acc[d], total); }
}
