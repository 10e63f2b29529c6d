// Moves the K and V of accepted tree nodes to contiguous slots, in every section (layer, or shard of a layer) of a cache: for ascending i
//   cache[section, moves[list, i].y] = cache[section, moves[list, i].x]
//   moves  vec2u [numLists, list_len]   (from slot, to slot); a sequence's moves in one list and in ascending depth, so that
//          they may overlap
//   k_cache, v_cache  kv_element [numSections, SECTION_ELEMENTS]: slots of SLOT_ELEMENTS each
// Grid (elements of a slot, lists, sections): a thread carries its element through all moves of its list.
// Reference: reference/commit-kv.ts
@group(0) @binding(0) var<storage, read> moves: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> k_cache: array<kv_element>;
@group(0) @binding(2) var<storage, read_write> v_cache: array<kv_element>;
var<immediate> list_len: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= SLOT_ELEMENTS) { return; }
  let section = id.z * SECTION_ELEMENTS;
  for (var i = 0u; i < list_len; i++) {
    let slots = moves[id.y * list_len + i];
    if (slots.x == slots.y) { continue; }
    let source = section + slots.x * SLOT_ELEMENTS + id.x;
    let target_at = section + slots.y * SLOT_ELEMENTS + id.x;
    k_cache[target_at] = k_cache[source];
    v_cache[target_at] = v_cache[source];
  }
}
