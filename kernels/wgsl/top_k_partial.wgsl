// The TOP_K best tokens of one chunk of the vocabulary by score = logit / T + noise, among z = logit / T within its threshold.
// Equal scores: the lower id first. With TOP_K = 1 this is the Gumbel-max draw.
//   logits f32 [numRows, LOGITS_STRIDE], of which VOCAB_SIZE count;  rows SamplingRow [numRows];  threshold vec2f [numRows] (lowest, highest z)
//   candidates Candidate [numRows, NUM_CHUNKS, TOP_K], best first, token 0xffffffff where there are fewer
//   sums vec2f [numRows, NUM_CHUNKS]   (max score, Σ exp(score − max)) over the chunk's tokens in play
// One thread a (row, chunk of CHUNK tokens). Reference: reference/sampling.ts
struct Candidate { score: f32, token: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<SamplingRow>;
@group(0) @binding(2) var<storage, read> threshold: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> candidates: array<Candidate>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec2f>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let chunk = thread % NUM_CHUNKS;
  let row_at = thread / NUM_CHUNKS;
  if (row_at >= num_rows) { return; }
  let row = rows[row_at];
  let range = threshold[row_at];
  let key = noise_key(row.seed, row.choice, row.position);
  let base = row_at * LOGITS_STRIDE;
  let end = min((chunk + 1u) * CHUNK, VOCAB_SIZE);
  var best: array<Candidate, TOP_K>;
  for (var i = 0u; i < TOP_K; i++) { best[i] = Candidate(LOWEST, 0xffffffffu); }
  var top = LOWEST;
  var total = 0.0;
  for (var v = chunk * CHUNK; v < end; v++) {
    let z = scaled(row, logits[base + v]);
    if (!(z >= range.x && z <= range.y)) { continue; }
    var score = z;
    if (row.inv_temperature != 0.0) { score += gumbel(key, v); }
    if (WITH_SUMS == 1) {
      let higher = max(top, score);
      total = total * exp(top - higher) + exp(score - higher);
      top = higher;
    }
    if (!(score > best[TOP_K - 1].score)) { continue; }
    var at = i32(TOP_K) - 1;
    while (at > 0 && score > best[max(at - 1, 0)].score) {
      best[at] = best[max(at - 1, 0)];
      at--;
    }
    best[at] = Candidate(score, v);
  }
  for (var i = 0u; i < TOP_K; i++) { candidates[thread * TOP_K + i] = best[i]; }
  if (WITH_SUMS == 1) { sums[thread] = vec2f(top, total); }
}
