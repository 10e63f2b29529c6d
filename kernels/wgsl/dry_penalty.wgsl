// DRY, "don't repeat yourself" (p-e-w, text-generation-webui pull 5677; as in llama.cpp): a token that would prolong a repetition
// is made less likely, the longer the repetition the more. For every earlier place i of the sequence and the row's path, L is the
// number of tokens up to i that equal those at the end, no breaker among them, at most MAX_MATCH. The token after i, unless it is
// a breaker, loses multiplier · base^(L − allowed_length), of the longest L ≥ allowed_length that it comes after.
//   batch, processors as in processed_row;  processed f32 bits [numRows, LOGITS_STRIDE], of which VOCAB_SIZE count
// One thread a (row, stripe), which looks for its own tokens among all places. Reference: reference/logits-processor.ts
@group(0) @binding(2) var<storage, read_write> processed: array<u32>;
var<immediate> num_rows: u32;

const MAX_PENALTY = 1.0e30;

// The token at `index` of what the row follows: known tokens, then its path.
fn token_at(row: ProcessedRow, index: u32) -> u32 {
  if (index < row.num_known) { return processor_word(row.processor - 1u, HISTORY + min(index, MAX_HISTORY - 1u)); }
  return path_token(row, index - row.num_known + 1u);
}

fn is_breaker(processor: u32, token: u32) -> bool {
  return token >= VOCAB_SIZE || (processor_word(processor, BREAKERS + token / 32u) & (1u << (token % 32u))) != 0u;
}

// Tokens of [first, place] that equal, from their end backwards, those that end with the last one.
fn match_length(row: ProcessedRow, first: u32, place: u32, last: u32) -> u32 {
  let longest = min(place - first + 1u, MAX_MATCH);
  for (var k = 0u; k < longest; k++) {
    let token = token_at(row, last - k);
    if (token != token_at(row, place - k) || is_breaker(row.processor - 1u, token)) { return k; }
  }
  return longest;
}

fn penalty(head: ProcessorHead, length: u32) -> f32 {
  var amount = head.dry_multiplier;
  for (var i = head.dry_allowed_length; i < length; i++) { amount = min(amount * head.dry_base, MAX_PENALTY); }
  return amount;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let index = thread / NUM_STRIPES;
  if (index >= num_rows) { return; }
  let row = processed_row(index);
  if (row.processor == 0u) { return; }
  let processor = row.processor - 1u;
  let head = head_of(processor);
  let size = row.num_known + row.depth;
  if (head.dry_multiplier == 0.0 || size < 2u) { return; }
  let first = size - min(size, head.dry_range);
  let stripe = thread % NUM_STRIPES;
  // Of the stripe's tokens, in order.
  var lengths = array<u32, (VOCAB_SIZE + NUM_STRIPES - 1u) / NUM_STRIPES>();
  for (var place = first; place + 1u < size; place++) {
    let token = token_at(row, place + 1u);
    if (!is_in_stripe(token, stripe) || is_breaker(processor, token)) { continue; }
    let at = token / NUM_STRIPES;
    lengths[at] = max(lengths[at], match_length(row, first, place, size - 1u));
  }
  for (var v = stripe; v < VOCAB_SIZE; v += NUM_STRIPES) {
    let length = lengths[v / NUM_STRIPES];
    let bits = processed[index * LOGITS_STRIDE + v];
    // NaN stays what it is.
    if (length < head.dry_allowed_length || length == 0u || (bits & 0x7fffffffu) > 0x7f800000u) { continue; }
    processed[index * LOGITS_STRIDE + v] = bitcast<u32>(bitcast<f32>(bits) - penalty(head, length));
  }
}
