// Takes in what drafter MEMBER of NUM_MEMBERS proposed for each lane; the last one makes the lane's tree of the best nodes of all of them:
// a path that several have is there once, with the highest estimate that one gave it. Nodes come by falling score, and of equal ones
// who was met first. Which nodes may be the tree's is what has_place says (lane_unite_any, lane_unite_shape).
//   lanes Lane [num_lanes]: the member's tree at first
//   unions Union [num_lanes]
// One thread a lane. Needs sampling_params, lanes, lane_tree, best_nodes and lane_unite_*. Reference: engine/speculative/union.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read_write> unions: array<Union>;
var<immediate> params: LaneParams;

const MOST = 1u + NUM_MEMBERS * (MAX_NODES - 1u);

struct Union {
  count: u32,
  tokens: array<u32, MOST>,
  parents: array<u32, MOST>,
  depths: array<u32, MOST>,
  log_survivals: array<f32, MOST>,
  scores: array<f32, MOST>,
  // A bit for each member that proposed the node.
  proposers: array<u32, MOST>,
}

// The node with this token below `parent`; a new one where there is none yet.
fn united(lane: u32, parent: u32, token: u32) -> u32 {
  let count = unions[lane].count;
  for (var i = parent + 1u; i < count; i++) {
    if (unions[lane].parents[i] == parent && unions[lane].tokens[i] == token) { return i; }
  }
  unions[lane].tokens[count] = token;
  unions[lane].parents[count] = parent;
  unions[lane].depths[count] = unions[lane].depths[parent] + 1u;
  unions[lane].log_survivals[count] = LOWEST;
  unions[lane].proposers[count] = 0u;
  unions[lane].count = count + 1u;
  return count;
}

fn take_in(lane: u32) {
  if (MEMBER == 0u) {
    unions[lane].count = 1u;
    unions[lane].depths[0] = 0u;
    unions[lane].scores[0] = 0.0;
  }
  var places: array<u32, MAX_NODES>;
  for (var node = 1u; node < lanes[lane].num_nodes; node++) {
    let place = united(lane, places[lanes[lane].parents[node]], lanes[lane].tokens[node]);
    places[node] = place;
    unions[lane].log_survivals[place] = max(unions[lane].log_survivals[place], lanes[lane].log_survivals[node]);
    unions[lane].proposers[place] |= 1u << MEMBER;
  }
}

// The best num_nodes − 1 nodes of all below the root.
fn make_tree(lane: u32) {
  let most = min(params.num_nodes, MAX_NODES) - 1u;
  for (var i = 1u; i < unions[lane].count; i++) {
    unions[lane].scores[i] = unions[lane].scores[unions[lane].parents[i]] + unions[lane].log_survivals[i];
  }
  for (var i = 1u; i < unions[lane].count; i++) {
    if (has_place(lane, i)) { consider(i, unions[lane].scores[i], most); }
  }
  begin_tree(lane, 1u + num_best);
  for (var node = 1u; node <= num_best; node++) {
    let place = best_candidates[node - 1u];
    lanes[lane].tokens[node] = unions[lane].tokens[place];
    lanes[lane].parents[node] = node_of(unions[lane].parents[place], node);
    lanes[lane].depths[node] = unions[lane].depths[place];
    lanes[lane].log_survivals[node] = unions[lane].log_survivals[place];
    lanes[lane].scores[node] = best_scores[node - 1u];
    lanes[lane].proposers[node] = unions[lane].proposers[place];
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x;
  if (lane >= params.num_lanes) { return; }
  take_in(lane);
  if (MEMBER == NUM_MEMBERS - 1u) { make_tree(lane); }
}
