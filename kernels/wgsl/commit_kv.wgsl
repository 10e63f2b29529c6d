// Moves the K and V of accepted tree nodes to contiguous slots, in every layer of a cache: for ascending i
//   cache[layer, moves[list, i].y] = cache[layer, moves[list, i].x]
//   moves  vec2u [numLists, list_len]   (from slot, to slot); a sequence's moves in one list and in ascending depth, so that
//          they may overlap
//   k_cache, v_cache  vec4<kv_t> [numLayers, NUM_SLOTS, SLOT_SIZE / 4]
// Grid (elements of a slot, lists, layers): a thread carries its element through all moves of its list.
// Reference: reference/commit-kv.ts
@group(0) @binding(0) var<storage, read> moves: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> k_cache: array<vec4<kv_t>>;
@group(0) @binding(2) var<storage, read_write> v_cache: array<vec4<kv_t>>;
var<immediate> list_len: u32;

const QUADS = SLOT_SIZE / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= QUADS) { return; }
  let layer = id.z * NUM_SLOTS * QUADS;
  for (var i = 0u; i < list_len; i++) {
    let slots = moves[id.y * list_len + i];
    if (slots.x == slots.y) { continue; }
    let source = layer + slots.x * QUADS + id.x;
    let target_at = layer + slots.y * QUADS + id.x;
    k_cache[target_at] = k_cache[source];
    v_cache[target_at] = v_cache[source];
  }
}
