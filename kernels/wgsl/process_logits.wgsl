// Logits as they are drawn from: raw ones, plus the biases, then penalised by what the row follows, then without the tokens that
// would end the sequence too early. For a token that has occurred c times in the output, or is in the prompt (in this order):
//   l ← l > 0 ? l · inverse_repetition : l · repetition        (Keskar et al., "CTRL", arXiv 1909.05858, section 4.1)
//   l ← l − frequency · c;   l ← c > 0 ? l − presence : l
// A token that may not be drawn gets NaN, which nothing draws at any temperature. Rows without a processor are copied.
//   batch or sampling rows, processors as in processed_row*;  counts u32 [num_processors, VOCAB_SIZE] (token_counts.wgsl)
//   logits f32 [numRows, LOGITS_STRIDE];  processed f32 bits [numRows, LOGITS_STRIDE], of which VOCAB_SIZE count
// One thread a (row, stripe). Reference: reference/logits-processor.ts
@group(0) @binding(2) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> processed: array<u32>;
var<immediate> num_rows: u32;

const NEVER = 0x7fc00000u;

// Whether one of the row's path lies in the stripe: mostly none does.
fn path_touches(row: ProcessedRow, stripe: u32) -> bool {
  for (var d = 1u; d <= row.depth; d++) {
    if (is_in_stripe(path_token(row, d), stripe)) { return true; }
  }
  return false;
}

fn penalise(head: ProcessorHead, logit: f32, count: u32) -> f32 {
  let times = count & ~IN_PROMPT;
  var l = select(logit * head.repetition, logit * head.inverse_repetition, logit > 0.0);
  l -= head.frequency * f32(times);
  return select(l, l - head.presence, times > 0u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let index = thread / NUM_STRIPES;
  if (index >= num_rows) { return; }
  let stripe = thread % NUM_STRIPES;
  let base = index * LOGITS_STRIDE;
  for (var v = stripe; v < VOCAB_SIZE; v += NUM_STRIPES) { processed[base + v] = bitcast<u32>(logits[base + v]); }
  let row = processed_row(index);
  if (row.processor == 0u) { return; }
  let processor = row.processor - 1u;
  let head = head_of(processor);
  for (var i = 0u; i < head.num_biases; i++) {
    let token = processor_word(processor, BIASES + 2u * i);
    if (!is_in_stripe(token, stripe)) { continue; }
    processed[base + token] = bitcast<u32>(logits[base + token] + processor_f32(processor, BIASES + 2u * i + 1u));
  }
  if (has_penalties(head)) {
    let is_touched = path_touches(row, stripe);
    for (var v = stripe; v < VOCAB_SIZE; v += NUM_STRIPES) {
      var count = counts[processor * VOCAB_SIZE + v];
      for (var d = 1u; is_touched && d <= row.depth; d++) { count += select(0u, 1u, path_token(row, d) == v); }
      if (count > 0u) { processed[base + v] = bitcast<u32>(penalise(head, bitcast<f32>(processed[base + v]), count)); }
    }
  }
  if (row.position >= head.min_position) { return; }
  for (var i = 0u; i < head.num_ends; i++) {
    let token = processor_word(processor, ENDS + i);
    if (is_in_stripe(token, stripe)) { processed[base + token] = NEVER; }
  }
}
