// Logits processors: what one sequence's logits go through before they are drawn from, and the sequence's known tokens, which the
// penalties count. PROCESSOR_WORDS u32 each, written by the host (ops/logits-processors.ts); on the device only lane_history
// writes, as a lane's tokens become known. Words of one, after the PROCESSOR_HEAD ones that `head_of` reads:
//   ENDS        u32 [MAX_ENDS]            tokens that may not be drawn before `min_position`
//   BIASES      (u32, f32 bits) [MAX_BIASES]
//   HISTORY     u32 [MAX_HISTORY]         known tokens
//   BREAKERS    u32 [⌈VOCAB_SIZE / 32⌉]   bit t: token t ends what DRY compares
struct ProcessorHead {
  // A token that has occurred, in prompt or output: its logit times `inverse_repetition` if positive, else times `repetition`.
  repetition: f32,
  inverse_repetition: f32,
  // Of tokens that have occurred in the output: subtracted once, and once for each time.
  presence: f32,
  frequency: f32,
  num_prompt: u32,
  // Known tokens.
  num_tokens: u32,
  min_position: u32,
  num_ends: u32,
  num_biases: u32,
  // "Don't repeat yourself" (dry_penalty.wgsl); off where the multiplier is 0.
  dry_multiplier: f32,
  dry_base: f32,
  dry_allowed_length: u32,
  // Tokens at the end that are looked at.
  dry_range: u32,
}

const PROCESSOR_HEAD = 16u;
const ENDS = PROCESSOR_HEAD;
const BIASES = ENDS + MAX_ENDS;
const HISTORY = BIASES + 2u * MAX_BIASES;
const BREAKERS = HISTORY + MAX_HISTORY;
const PROCESSOR_WORDS = BREAKERS + (VOCAB_SIZE + 31u) / 32u;

// Marks, in a table of counts, a token that has occurred in the prompt. The other bits count the output.
const IN_PROMPT = 0x80000000u;

fn processor_word(processor: u32, word: u32) -> u32 { return processors[processor * PROCESSOR_WORDS + word]; }

fn processor_f32(processor: u32, word: u32) -> f32 { return bitcast<f32>(processor_word(processor, word)); }

fn head_of(processor: u32) -> ProcessorHead {
  return ProcessorHead(
    processor_f32(processor, 0u),
    processor_f32(processor, 1u),
    processor_f32(processor, 2u),
    processor_f32(processor, 3u),
    processor_word(processor, 4u),
    min(processor_word(processor, 5u), MAX_HISTORY),
    processor_word(processor, 6u),
    min(processor_word(processor, 7u), MAX_ENDS),
    min(processor_word(processor, 8u), MAX_BIASES),
    processor_f32(processor, 9u),
    processor_f32(processor, 10u),
    processor_word(processor, 11u),
    processor_word(processor, 12u),
  );
}

// A thread has a stripe of the vocabulary: tokens `stripe`, `stripe` + NUM_STRIPES, …, so that neighbours read neighbours.
fn is_in_stripe(token: u32, stripe: u32) -> bool { return token < VOCAB_SIZE && token % NUM_STRIPES == stripe; }

fn has_penalties(head: ProcessorHead) -> bool {
  return head.repetition != 1.0 || head.presence != 0.0 || head.frequency != 0.0;
}
