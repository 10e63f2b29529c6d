// Rotates Q and K of a product, and writes Q for attention, K and plain V to the paged cache. The rest: rope_rows.wgsl
//   k_cache, v_cache  vec4<kv_t> [numSlots, NUM_KV_HEADS, HEAD_DIM / 4]
// One thread 4 pairs of one head. Reference: reference/rope.ts
@group(0) @binding(4) var<storage, read_write> k_cache: array<vec4<kv_t>>;
@group(0) @binding(5) var<storage, read_write> v_cache: array<vec4<kv_t>>;

// Values that the cache cannot hold become its largest.
fn stored(value: vec4f) -> vec4<kv_t> {
  return vec4<kv_t>(clamp(value, vec4f(-LARGEST), vec4f(LARGEST)));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let place = place_of(id);
  let row = place.row;
  let head = place.head;
  let quad = place.quad;
  if (row >= num_rows) { return; }
  let pairs = pairs_of(row, head, quad);
  if (head < NUM_HEADS) {
    write_q(row, head, quad, pairs);
  } else if (head < NUM_HEADS + NUM_KV_HEADS) {
    let to = (slots[row] * NUM_KV_HEADS + head - NUM_HEADS) * 2u * QUADS + quad;
    k_cache[to] = stored(pairs.low);
    k_cache[to + QUADS] = stored(pairs.high);
  } else {
    let to = (slots[row] * NUM_KV_HEADS + head - NUM_HEADS - NUM_KV_HEADS) * 2u * QUADS + quad;
    v_cache[to] = stored(pairs.low);
    v_cache[to + QUADS] = stored(pairs.high);
  }
}
