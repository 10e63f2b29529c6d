// As top_k_merge, with a workgroup a row: thread t has candidates t, t + WORKGROUP_SIZE, … Reference: reference/sampling.ts
@group(0) @binding(0) var<storage, read> candidates: array<Candidate>;
@group(0) @binding(1) var<storage, read> sums: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> log_shares: array<f32>;
var<immediate> num_rows: u32;

/** The thread's best candidate after `last`. */
fn own_best(row: u32, last: Candidate, t: u32) -> Candidate {
  var best = NONE;
  for (var c = t; c < NUM_CHUNKS * TOP_K; c += WORKGROUP_SIZE) {
    let candidate = candidates[row * NUM_CHUNKS * TOP_K + c];
    if (is_better(last, candidate)) { best = better(best, candidate); }
  }
  return best;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = thread_index(group);
  if (row >= num_rows) { return; }
  var best = group_best(own_best(row, Candidate(3.4e38, 0u), t), t);
  let top = best.score;
  var log_total = 0.0;
  if (WITH_SUMS == 1) {
    var total = 0.0;
    for (var c = t; c < NUM_CHUNKS; c += WORKGROUP_SIZE) {
      let chunk = sums[row * NUM_CHUNKS + c];
      total += chunk.y * exp(chunk.x - top);
    }
    log_total = top + log(group_sum(total, t));
  }
  for (var i = 0u; i < TOP_K; i++) {
    if (i > 0u) { best = group_best(own_best(row, best, t), t); }
    if (t == 0u) {
      tokens[row * TOP_K + i] = best.token;
      log_shares[row * TOP_K + i] = best.score - log_total;
    }
  }
}
