// Each lane's tree from what Medusa's heads propose below every node: best-first, the num_nodes − 1 likeliest paths down to depth
// `level` (Medusa, arXiv 2401.10774, section 2.1.2), or those that have a place in a shape (draft_score_shape). Scores never rise along
// a path or from one child to the next, and equal ones go to the child that could come first.
//   lanes Lane [num_lanes];  children Child [num_lanes, 1 + (NUM_HEADS − 1) · TOP_K, TOP_K] as of medusa_paths
// One thread a lane. Needs sampling_params, lanes, lane_tree, draft_score_* and medusa_child.
// Reference: engine/speculative/medusa/likeliest-tree.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> children: array<Child>;
var<immediate> params: LaneParams;

const NONE = Child(NO_TOKEN, LOWEST, 0u);

// Of the children of a node of this depth, the one at this place; `rank` is the node's own, as in Child.
fn child_of(lane: u32, depth: u32, rank: u32, place: u32) -> Child {
  if (depth >= min(params.level, NUM_HEADS) || place >= TOP_K) { return NONE; }
  let parent = select(1u + (depth - 1u) * TOP_K + rank, 0u, depth == 0u);
  let child = children[(lane * NUM_PARENTS + parent) * TOP_K + place];
  if (child.token == NO_TOKEN) { return NONE; }
  return child;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x;
  if (lane >= params.num_lanes) { return; }
  begin_tree(lane, 1u);
  // Of each node: its score and rank; its next child, that child's place and score, and since when it can come.
  var scores: array<f32, MAX_NODES>;
  var ranks: array<u32, MAX_NODES>;
  var next: array<Child, MAX_NODES>;
  var places: array<u32, MAX_NODES>;
  var next_scores: array<f32, MAX_NODES>;
  var since: array<u32, MAX_NODES>;
  next[0] = child_of(lane, 0u, 0u, 0u);
  next_scores[0] = child_score(next[0], 0.0, 0u);
  var count = 1u;
  for (; count < min(params.num_nodes, MAX_NODES); count++) {
    var parent = 0u;
    for (var i = 1u; i < count; i++) {
      let is_better = next_scores[i] > next_scores[parent];
      if (is_better || (next_scores[i] == next_scores[parent] && since[i] < since[parent])) { parent = i; }
    }
    let chosen = next[parent];
    if (next_scores[parent] == LOWEST) { break; }
    let depth = lanes[lane].depths[parent] + 1u;
    lanes[lane].tokens[count] = chosen.token;
    lanes[lane].parents[count] = parent;
    lanes[lane].depths[count] = depth;
    lanes[lane].log_survivals[count] = chosen.log_survival;
    scores[count] = next_scores[parent];
    lanes[lane].scores[count] = scores[count];
    ranks[count] = chosen.rank;
    places[parent]++;
    next[parent] = child_of(lane, depth - 1u, ranks[parent], places[parent]);
    next_scores[parent] = child_score(next[parent], scores[parent], places[parent]);
    since[parent] = 2u * count;
    next[count] = child_of(lane, depth, chosen.rank, 0u);
    next_scores[count] = child_score(next[count], scores[count], 0u);
    since[count] = 2u * count + 1u;
  }
  lanes[lane].num_nodes = count;
  lanes[lane].num_kept = count;
}

fn child_score(child: Child, parent_score: f32, place: u32) -> f32 {
  if (child.log_survival == LOWEST) { return LOWEST; }
  return score_of(parent_score, child.log_survival, place);
}
