// Log-probabilities of drawn tokens, from the row's best ones, whose log-probabilities are known: they differ as the logits do.
//   logits f32 [numRows, LOGITS_STRIDE], raw;  drawn u32 [numRows]
//   results u32, from these words on: BEST u32 and BEST_LOG_PROBS f32 bits [numRows, NUM_BEST], best first;
//           DRAWN_LOG_PROBS f32 bits [numRows], which this writes: 0 where nothing was drawn
// One thread a row. Reference: reference/sampling.ts, logShares
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> drawn: array<u32>;
@group(0) @binding(2) var<storage, read_write> results: array<u32>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = thread_index(id);
  if (row >= num_rows) { return; }
  let token = drawn[row];
  let best = results[BEST + row * NUM_BEST];
  var log_prob = 0.0;
  if (token < VOCAB_SIZE && best < VOCAB_SIZE) {
    let behind = logits[row * LOGITS_STRIDE + token] - logits[row * LOGITS_STRIDE + best];
    log_prob = bitcast<f32>(results[BEST_LOG_PROBS + row * NUM_BEST]) + behind;
  }
  results[DRAWN_LOG_PROBS + row] = bitcast<u32>(log_prob);
}
