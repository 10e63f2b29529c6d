// How often each token has occurred in a sequence: bit IN_PROMPT if in the prompt, plus the number of times in the output.
//   processors Processor [num_processors];  counts u32 [num_processors, VOCAB_SIZE], only written where penalties need it
// One thread a (processor, stripe): it reads the whole history and counts the tokens of its stripe, so that nothing has to be
// atomic. Reference: reference/logits-processor.ts
@group(0) @binding(0) var<storage, read> processors: array<u32>;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;
var<immediate> num_processors: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let processor = thread / NUM_STRIPES;
  if (processor >= num_processors) { return; }
  let head = head_of(processor);
  if (!has_penalties(head)) { return; }
  let stripe = thread % NUM_STRIPES;
  let table = processor * VOCAB_SIZE;
  for (var v = stripe; v < VOCAB_SIZE; v += NUM_STRIPES) { counts[table + v] = 0u; }
  for (var i = 0u; i < head.num_tokens; i++) {
    let token = processor_word(processor, HISTORY + i);
    if (!is_in_stripe(token, stripe)) { continue; }
    if (i < head.num_prompt) {
      counts[table + token] |= IN_PROMPT;
    } else {
      counts[table + token]++;
    }
  }
}
