// Moves the K and V of accepted tree nodes to contiguous slots: cache[moves[i].y] = cache[moves[i].x] for ascending i.
//   moves  vec2u [numMoves]   (from slot, to slot); a sequence's moves in ascending depth, so that they may overlap
//   k_cache, v_cache  vec4<kv_t> [numSlots, SLOT_SIZE / 4]
// One thread an element of a slot, which it carries through all moves. Reference: reference/commit-kv.ts
@group(0) @binding(0) var<storage, read> moves: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> k_cache: array<vec4<kv_t>>;
@group(0) @binding(2) var<storage, read_write> v_cache: array<vec4<kv_t>>;
var<immediate> num_moves: u32;

const QUADS = SLOT_SIZE / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= QUADS) { return; }
  for (var i = 0u; i < num_moves; i++) {
    let source = moves[i].x * QUADS + id.x;
    let target_at = moves[i].y * QUADS + id.x;
    k_cache[target_at] = k_cache[source];
    v_cache[target_at] = v_cache[source];
  }
}
