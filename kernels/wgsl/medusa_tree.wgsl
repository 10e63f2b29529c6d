// Each lane's tree from what Medusa's heads propose below every node: best-first, the num_nodes − 1 likeliest paths down to depth
// `level` (Medusa, arXiv 2401.10774, section 2.1.2), or those that have a place in a shape (draft_score_shape). Scores never rise along
// a path or from one child to the next, and equal ones go to the child that could come first.
//   lanes Lane [num_lanes];  children Child [num_lanes, 1 + (NUM_HEADS − 1) · TOP_K, TOP_K] as of medusa_paths
//   leaves Leaf [num_lanes, MAX_NODES], whatever they hold: a lane's is a heap with the best one first
// One thread a lane. Needs sampling_params, lanes, lane_tree, draft_score_* and medusa_child.
// Reference: engine/speculative/medusa/likeliest-tree.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> children: array<Child>;
@group(0) @binding(2) var<storage, read_write> leaves: array<Leaf>;
var<immediate> params: LaneParams;

// A child that may come next. Of each node there is one at a time: its children come one after the other.
struct Leaf {
  // LOWEST where there is no such child.
  score: f32,
  // When it could first come: no two leaves of a lane have the same.
  since: u32,
  parent: u32,
  // Where it stands in `children`; the node's other ones stand beside it.
  child: u32,
}

var<private> num_leaves: u32;

fn comes_before(a: Leaf, b: Leaf) -> bool {
  return a.score > b.score || (a.score == b.score && a.since < b.since);
}

fn leaf_of(lane: u32, parent: u32, child: u32, since: u32) -> Leaf {
  let log_survival = children[child].log_survival;
  if (children[child].token == NO_TOKEN || log_survival == LOWEST) { return Leaf(LOWEST, since, parent, child); }
  return Leaf(score_of(lanes[lane].scores[parent], log_survival, child % TOP_K), since, parent, child);
}

// @param first where the lane's heap begins
fn push(first: u32, leaf: Leaf) {
  var at = num_leaves;
  num_leaves++;
  while (at > 0u) {
    let above = (at - 1u) / 2u;
    if (comes_before(leaves[first + above], leaf)) { break; }
    leaves[first + at] = leaves[first + above];
    at = above;
  }
  leaves[first + at] = leaf;
}

// The best leaf goes, and this one comes in.
fn replace_best(first: u32, leaf: Leaf) {
  var at = 0u;
  loop {
    var below = 2u * at + 1u;
    if (below >= num_leaves) { break; }
    let other = below + 1u;
    if (other < num_leaves && comes_before(leaves[first + other], leaves[first + below])) { below = other; }
    if (comes_before(leaf, leaves[first + below])) { break; }
    leaves[first + at] = leaves[first + below];
    at = below;
  }
  leaves[first + at] = leaf;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x;
  if (lane >= params.num_lanes) { return; }
  begin_tree(lane, 1u);
  let first = lane * MAX_NODES;
  let max_depth = select(0u, min(params.level, NUM_HEADS), drafts(lane));
  let first_child = lane * NUM_PARENTS * TOP_K;
  if (max_depth > 0u) {
    let leaf = leaf_of(lane, 0u, first_child, 0u);
    if (leaf.score > LOWEST) { push(first, leaf); }
  }
  var count = 1u;
  for (; count < min(params.num_nodes, MAX_NODES) && num_leaves > 0u; count++) {
    let best = leaves[first];
    let chosen = children[best.child];
    let depth = lanes[lane].depths[best.parent] + 1u;
    lanes[lane].tokens[count] = chosen.token;
    lanes[lane].parents[count] = best.parent;
    lanes[lane].depths[count] = depth;
    lanes[lane].log_survivals[count] = chosen.log_survival;
    lanes[lane].scores[count] = best.score;
    var next = Leaf(LOWEST, 0u, 0u, 0u);
    if ((best.child + 1u) % TOP_K != 0u) { next = leaf_of(lane, best.parent, best.child + 1u, 2u * count); }
    if (next.score > LOWEST) {
      replace_best(first, next);
    } else {
      num_leaves--;
      replace_best(first, leaves[first + num_leaves]);
    }
    if (depth < max_depth) {
      let parent = 1u + (depth - 1u) * TOP_K + chosen.rank;
      let leaf = leaf_of(lane, count, first_child + parent * TOP_K, 2u * count + 1u);
      if (leaf.score > LOWEST) { push(first, leaf); }
    }
  }
  lanes[lane].num_nodes = count;
  lanes[lane].num_kept = count;
}
