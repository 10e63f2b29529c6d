// Moves the features of accepted tree nodes to contiguous slots, as commit_kv.wgsl does their K and V: for ascending i
//   features[moves[list, i].y] = features[moves[list, i].x]
//   moves     vec2u [numLists, list_len]   (from slot, to slot), as there
//   features  vec4<kv_t> [numSlots, STRIDE]
// Grid (vectors of a slot, lists): a thread carries its vector through all moves of its list. Reference: reference/commit-kv.ts
@group(0) @binding(0) var<storage, read> moves: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> features: array<vec4<kv_t>>;
var<immediate> list_len: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= STRIDE) { return; }
  for (var i = 0u; i < list_len; i++) {
    let slots = moves[id.y * list_len + i];
    if (slots.x != slots.y) { features[slots.y * STRIDE + id.x] = features[slots.x * STRIDE + id.x]; }
  }
}
