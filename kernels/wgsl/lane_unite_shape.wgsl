// Of a union's nodes those may be the lane's tree that have a place in the shape that is given: the one of their parent's child of their rank
// among its children in the union, by falling score, of equal ones who was met first.
// Needs lane_unite and draft_score_shape; TOP_K: children of a node that the table has.
// Reference: engine/speculative/union.ts
fn find_place(lane: u32, slot: u32, end: u32) -> u32 {
  let parent = unions[lane].parents[slot];
  let parent_place = unions[lane].nodes[parent];
  if (parent != 0u && parent_place == 0u) { return 0u; }
  let order = unions[lane].order[slot];
  var rank = 0u;
  for (var i = parent + 1u; i < end; i++) {
    if (unions[lane].parents[i] == parent && comes_before(lane, i, slot, order)) { rank++; }
  }
  if (rank >= TOP_K) { return 0u; }
  return shape_child(-f32(parent_place), rank);
}

// A node's order is what its siblings' ranks go by: it is taken away when all have theirs.
fn leave_out(lane: u32, thread: u32, end: u32, num_levels: u32) {
  for (var depth = 1u; depth <= num_levels; depth++) {
    for (var slot = 1u + thread; slot < end; slot += WORKGROUP_SIZE) {
      if (unions[lane].depths[slot] == depth) { unions[lane].nodes[slot] = find_place(lane, slot, end); }
    }
    storageBarrier();
  }
  for (var slot = 1u + thread; slot < end; slot += WORKGROUP_SIZE) {
    if (unions[lane].nodes[slot] == 0u) { unions[lane].order[slot] = 0u; }
  }
  storageBarrier();
}
