// Of a union's nodes those may be the lane's tree that have a place in the shape that is given: the one of their parent's child of their rank
// among its children in the union, by falling score, of equal ones who was met first.
// To be asked for all nodes in order, once their scores are there. Needs lane_unite and draft_score_shape; TOP_K: children of a node that the table has.
// Reference: engine/speculative/union.ts
var<private> shape_places: array<u32, MOST>;

fn has_place(lane: u32, node: u32) -> bool {
  let parent = unions[lane].parents[node];
  if (parent != 0u && shape_places[parent] == 0u) { return false; }
  let score = unions[lane].scores[node];
  var rank = 0u;
  for (var i = parent + 1u; i < unions[lane].count; i++) {
    let other = unions[lane].scores[i];
    if (unions[lane].parents[i] == parent && (other > score || (other == score && i < node))) { rank++; }
  }
  if (rank >= TOP_K) { return false; }
  shape_places[node] = shape_child(-f32(shape_places[parent]), rank);
  return shape_places[node] != 0u;
}
