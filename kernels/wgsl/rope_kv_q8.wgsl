// As rope_kv.wgsl, with K and V in 8 bits. For each head of a row: scale = max |x| / 127, integers round(x / scale).
//   k_cache, v_cache  u32 [numSlots, NUM_KV_HEADS, 1 + HEAD_DIM / 4]   the scale's bits, then the integers, four a word
// One thread 4 pairs of one head of Q, or a whole head of K or V: its threads for other pairs do nothing. Reference: reference/kv-q8.ts
@group(0) @binding(4) var<storage, read_write> k_cache: array<u32>;
@group(0) @binding(5) var<storage, read_write> v_cache: array<u32>;

const HEAD_WORDS = 1u + 2u * QUADS;

fn largest(v: vec4f) -> f32 { return max(max(abs(v.x), abs(v.y)), max(abs(v.z), abs(v.w))); }

fn quantized(v: vec4f, inverse: f32) -> u32 { return pack4xI8(vec4i(round(v * inverse))); }

fn write_kv(of_values: bool, at: u32, word: u32) {
  if (of_values) { v_cache[at] = word; } else { k_cache[at] = word; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let place = place_of(id);
  let row = place.row;
  let head = place.head;
  let quad = place.quad;
  if (row >= num_rows) { return; }
  if (head < NUM_HEADS) {
    write_q(row, head, quad, pairs_of(row, head, quad));
    return;
  }
  if (quad > 0u) { return; }
  var top = 0.0;
  for (var i = 0u; i < QUADS; i++) {
    let pairs = pairs_of(row, head, i);
    top = max(top, max(largest(pairs.low), largest(pairs.high)));
  }
  // A head of zeros stays one.
  let inverse = select(0.0, 127.0 / top, top > 0.0);
  let of_values = head >= NUM_HEADS + NUM_KV_HEADS;
  let kv_head = head - NUM_HEADS - select(0u, NUM_KV_HEADS, of_values);
  let at = (slots[row] * NUM_KV_HEADS + kv_head) * HEAD_WORDS;
  write_kv(of_values, at, bitcast<u32>(top / 127.0));
  for (var i = 0u; i < QUADS; i++) {
    let pairs = pairs_of(row, head, i);
    write_kv(of_values, at + 1u + i, quantized(pairs.low, inverse));
    write_kv(of_values, at + 1u + QUADS + i, quantized(pairs.high, inverse));
  }
}
