// Logits over a reduced vocabulary as logits over the whole one: logits[i, v] = reduced[i, places[v]]. A token without a place
// gets NaN, which nothing draws at any temperature.
//   reduced  f32 [numRows, REDUCED_STRIDE]
//   places   u32 [VOCAB_SIZE]: a token's place in the reduced vocabulary, or NO_PLACE
//   logits   f32 bits [numRows, LOGITS_STRIDE], of which VOCAB_SIZE count
// One thread a logit. Reference: reference/spread-logits.ts
@group(0) @binding(0) var<storage, read> reduced: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> logits: array<u32>;
var<immediate> num_rows: u32;

const NO_PLACE = 0xffffffffu;
const NEVER = 0x7fc00000u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * VOCAB_SIZE) { return; }
  let row = thread / VOCAB_SIZE;
  let token = thread % VOCAB_SIZE;
  let place = places[token];
  var bits = NEVER;
  if (place != NO_PLACE) { bits = bitcast<u32>(reduced[row * REDUCED_STRIDE + place]); }
  logits[row * LOGITS_STRIDE + token] = bits;
}
