// Merges the chunks' candidates of a row into its TOP_K best, with their shares: log softmax of the scores of all tokens
// in play. Of a greedy row these are log-probabilities; with noise they still say how far ahead a candidate is.
//   candidates Candidate [numRows, NUM_CHUNKS, TOP_K];  sums vec2f [numRows, NUM_CHUNKS]
//   tokens u32 [numRows, TOP_K], best first, 0xffffffff where there are fewer;  log_shares f32 [numRows, TOP_K]
// One thread a row; chunks in ascending order, so that equal scores keep the lower id. Reference: reference/sampling.ts
struct Candidate { score: f32, token: u32 }
@group(0) @binding(0) var<storage, read> candidates: array<Candidate>;
@group(0) @binding(1) var<storage, read> sums: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> log_shares: array<f32>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows) { return; }
  var best: array<Candidate, TOP_K>;
  for (var i = 0u; i < TOP_K; i++) { best[i] = Candidate(LOWEST, 0xffffffffu); }
  let first = thread * NUM_CHUNKS * TOP_K;
  for (var c = 0u; c < NUM_CHUNKS * TOP_K; c++) {
    let candidate = candidates[first + c];
    if (!(candidate.score > best[TOP_K - 1].score)) { continue; }
    var at = i32(TOP_K) - 1;
    while (at > 0 && candidate.score > best[max(at - 1, 0)].score) {
      best[at] = best[max(at - 1, 0)];
      at--;
    }
    best[at] = candidate;
  }
  var log_total = 0.0;
  if (WITH_SUMS == 1) {
    var top = LOWEST;
    for (var c = 0u; c < NUM_CHUNKS; c++) { top = max(top, sums[thread * NUM_CHUNKS + c].x); }
    var total = 0.0;
    for (var c = 0u; c < NUM_CHUNKS; c++) {
      let chunk = sums[thread * NUM_CHUNKS + c];
      total += chunk.y * exp(chunk.x - top);
    }
    log_total = top + log(total);
  }
  for (var i = 0u; i < TOP_K; i++) {
    tokens[thread * TOP_K + i] = best[i].token;
    log_shares[thread * TOP_K + i] = best[i].score - log_total;
  }
}
