// As top_k_partial, with a workgroup a (row, chunk of 4 · WORKGROUP_SIZE tokens): thread t has tokens t, t + WORKGROUP_SIZE, … of
// the chunk. The i-th best is the best of those that come after the one before it. Reference: reference/sampling.ts
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<SamplingRow>;
@group(0) @binding(2) var<storage, read> threshold: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> candidates: array<Candidate>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec2f>;
var<immediate> num_rows: u32;

fn candidate_at(row: SamplingRow, key: vec2u, base: u32, range: vec2f, v: u32) -> Candidate {
  if (v >= VOCAB_SIZE) { return NONE; }
  let z = scaled(row, logits[base + v]);
  if (!(z >= range.x && z <= range.y)) { return NONE; }
  var score = z;
  if (row.inv_temperature != 0.0) { score += gumbel(key, v); }
  return Candidate(score, v);
}

fn if_after(last: Candidate, candidate: Candidate) -> Candidate {
  if (is_better(last, candidate)) { return candidate; }
  return NONE;
}

fn share(candidate: Candidate, top: f32) -> f32 {
  return select(exp(candidate.score - top), 0.0, candidate.token == NONE.token);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let item = thread_index(group);
  let row_at = item / NUM_CHUNKS;
  if (row_at >= num_rows) { return; }
  let row = rows[row_at];
  let range = threshold[row_at];
  let key = noise_key(row.seed, row.choice, row.position);
  let base = row_at * LOGITS_STRIDE;
  let first = item % NUM_CHUNKS * 4u * WORKGROUP_SIZE + t;
  let a = candidate_at(row, key, base, range, first);
  let b = candidate_at(row, key, base, range, first + WORKGROUP_SIZE);
  let c = candidate_at(row, key, base, range, first + 2u * WORKGROUP_SIZE);
  let d = candidate_at(row, key, base, range, first + 3u * WORKGROUP_SIZE);
  var best = group_best(better(better(a, b), better(c, d)), t);
  if (t == 0u) { candidates[item * TOP_K] = best; }
  let top = best.score;
  for (var i = 1u; i < TOP_K; i++) {
    let near = better(if_after(best, a), if_after(best, b));
    best = group_best(better(near, better(if_after(best, c), if_after(best, d))), t);
    if (t == 0u) { candidates[item * TOP_K + i] = best; }
  }
  if (WITH_SUMS == 0) { return; }
  let total = group_sum((share(a, top) + share(b, top)) + (share(c, top) + share(d, top)), t);
  if (t == 0u) { sums[item] = vec2f(top, total); }
}
