// As attention_portable, for GPUs: one workgroup a (head, split, row). Thread t scores keys t, t + WORKGROUP_SIZE, … of a chunk;
// then every thread adds the weights of all keys in order, and owns quads t, t + WORKGROUP_SIZE, … of the output.
// Reference: reference/attention.ts
@group(0) @binding(5) var<storage, read> q: array<io_quad>;

const QUADS_PER_THREAD = (QUADS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
var<workgroup> places: array<u32, CHUNK>;
var<workgroup> scores: array<f32, CHUNK>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let workgroup = thread_index(group);
  let shard_head = workgroup % NUM_HEADS;
  let split = (workgroup / NUM_HEADS) % params.num_splits;
  let tile_row = workgroup / (NUM_HEADS * params.num_splits);
  if (tile_row >= params.num_rows) { return; }
  let row = params.first_row + tile_row;
  let head = row_head(shard_head);
  let info = info_of(row, head);
  let first = split * params.split_size;
  let end = min(first + params.split_size, num_keys(info));
  if (first >= end && split > 0u) { return; }
  let q_at = io_index(row, head, ROW_HEADS) * QUADS;
  let kv_head = shard_head / (NUM_HEADS / NUM_KV_HEADS);

  var acc: array<vec4f, QUADS_PER_THREAD>;
  var top = NO_SCORE;
  var total = 0.0;
  for (var start = first; start < end; start += CHUNK) {
    let count = min(CHUNK, end - start);
    for (var j = t; j < count; j += WORKGROUP_SIZE) {
      let place = key_quad(row, info, start + j, kv_head);
      var dots = vec4f();
      for (var d = 0u; d < QUADS; d++) {
        dots = fma(from_io(q[q_at + d]), k_quad(place + d), dots);
      }
      places[j] = place;
      scores[j] = ((dots.x + dots.y) + (dots.z + dots.w)) * params.scale + bias_at(info, start + j);
    }
    workgroupBarrier();
    var chunk_top = NO_SCORE;
    for (var j = 0u; j < count; j++) { chunk_top = max(chunk_top, scores[j]); }
    workgroupBarrier();
    for (var j = t; j < count; j += WORKGROUP_SIZE) { scores[j] = exp(scores[j] - chunk_top); }
    workgroupBarrier();
    var chunk_total = 0.0;
    for (var j = 0u; j < count; j++) { chunk_total += scores[j]; }
    let new_top = max(top, chunk_top);
    let keep = exp(top - new_top);
    let add = exp(chunk_top - new_top);
    for (var i = 0u; i < QUADS_PER_THREAD; i++) {
      let quad = t + i * WORKGROUP_SIZE;
      if (quad < QUADS) {
        var sum = vec4f();
        for (var j = 0u; j < count; j++) { sum = fma(vec4f(scores[j]), v_quad(places[j] + quad), sum); }
        acc[i] = fma(sum, vec4f(add), acc[i] * keep);
      }
    }
    total = fma(chunk_total, add, total * keep);
    top = new_top;
    workgroupBarrier();
  }
  if (t == 0u) { write_stats(row, head, split, top, total); }
  for (var i = 0u; i < QUADS_PER_THREAD; i++) {
    let quad = t + i * WORKGROUP_SIZE;
    if (quad < QUADS) { write_quad(row, head, split, quad, acc[i], total); }
  }
}
