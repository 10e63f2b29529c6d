// Takes in what drafter MEMBER of NUM_MEMBERS proposed for each lane; the last one makes the lane's tree of the best nodes of all of them:
// a path that several have is there once, with the highest estimate that one gave it. Nodes come by falling score, and of equal ones
// who was met first. Which nodes may be the tree's is what leave_out says (lane_unite_any, lane_unite_shape).
//   lanes Lane [num_lanes]: the member's tree at first
//   unions Union [num_lanes]
// One workgroup a lane: its threads share the nodes of one depth after the other, then the candidates. Each node of each member has a
// slot of its own, and a path is in the slot of the node that was first to propose it: so threads need not agree on who takes which
// slot, and slots rise in the order in which paths are met.
// Needs sampling_params, order_bits, lanes, lane_tree and lane_unite_*. Reference: engine/speculative/union.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read_write> unions: array<Union>;
var<immediate> params: LaneParams;

const MOST = 1u + NUM_MEMBERS * (MAX_NODES - 1u);

// What a step leaves there means nothing to the next one.
struct Union {
  // Behind the last slot of the members so far, and how deep their nodes are.
  end: u32,
  deepest: u32,
  // Of the member's nodes, the slots of their paths.
  places: array<u32, MAX_NODES>,
  // By slot, the root in slot 0. A slot whose node has its path in another one is empty: depth and order are 0.
  tokens: array<u32, MOST>,
  parents: array<u32, MOST>,
  depths: array<u32, MOST>,
  log_survivals: array<f32, MOST>,
  scores: array<f32, MOST>,
  // Grows as the score does; 0 for what cannot be the tree's.
  order: array<u32, MOST>,
  // The node of the tree that the candidate becomes, 0 for none; before that, its place in a shape (lane_unite_shape).
  nodes: array<u32, MOST>,
  // A bit for each member that proposed the node.
  proposers: array<u32, MOST>,
}

var<workgroup> deepest: atomic<u32>;
var<workgroup> num_chosen: atomic<u32>;

// Depth of the deepest node of the members so far.
fn find_deepest(lane: u32, thread: u32) -> u32 {
  var own = select(unions[lane].deepest, 0u, MEMBER == 0u);
  for (var node = 1u + thread; node < lanes[lane].num_nodes; node += WORKGROUP_SIZE) { own = max(own, lanes[lane].depths[node]); }
  atomicMax(&deepest, own);
  return workgroupUniformLoad(&deepest);
}

// Siblings are distinct: of one member, no two nodes of a depth look for the same slot.
fn take_node(lane: u32, node: u32, start: u32) {
  let token = lanes[lane].tokens[node];
  let parent = unions[lane].places[lanes[lane].parents[node]];
  let depth = lanes[lane].depths[node];
  let log_survival = lanes[lane].log_survivals[node];
  let own = start + node - 1u;
  var place = own;
  for (var i = parent + 1u; i < start; i++) {
    if (unions[lane].depths[i] == depth && unions[lane].parents[i] == parent && unions[lane].tokens[i] == token) {
      place = i;
      break;
    }
  }
  unions[lane].places[node] = place;
  if (place == own) {
    unions[lane].tokens[own] = token;
    unions[lane].parents[own] = parent;
    unions[lane].depths[own] = depth;
    unions[lane].log_survivals[own] = log_survival;
    unions[lane].proposers[own] = 1u << MEMBER;
  } else {
    unions[lane].depths[own] = 0u;
    unions[lane].order[own] = 0u;
    unions[lane].log_survivals[place] = max(unions[lane].log_survivals[place], log_survival);
    unions[lane].proposers[place] |= 1u << MEMBER;
  }
}

// Parents have their slots before their children look for theirs.
fn take_in(lane: u32, thread: u32, start: u32, num_levels: u32) {
  for (var depth = 1u; depth <= num_levels; depth++) {
    storageBarrier();
    for (var node = 1u + thread; node < lanes[lane].num_nodes; node += WORKGROUP_SIZE) {
      if (lanes[lane].depths[node] == depth) { take_node(lane, node, start); }
    }
  }
}

// From the root down, so that sums are rounded as on the host.
fn find_scores(lane: u32, thread: u32, end: u32, num_levels: u32) {
  for (var depth = 1u; depth <= num_levels; depth++) {
    storageBarrier();
    for (var slot = 1u + thread; slot < end; slot += WORKGROUP_SIZE) {
      if (unions[lane].depths[slot] != depth) { continue; }
      let score = unions[lane].scores[unions[lane].parents[slot]] + unions[lane].log_survivals[slot];
      unions[lane].scores[slot] = score;
      unions[lane].order[slot] = order_bits(score);
    }
  }
}

// Whether slot `i` comes before `slot`, which is not empty.
fn comes_before(lane: u32, i: u32, slot: u32, order: u32) -> bool {
  let other = unions[lane].order[i];
  return other > order || (other == order && i < slot);
}

// The best num_nodes − 1 candidates of all are the nodes below the root.
fn make_tree(lane: u32, thread: u32, end: u32) {
  let most = min(params.num_nodes, MAX_NODES) - 1u;
  for (var slot = 1u + thread; slot < end; slot += WORKGROUP_SIZE) {
    let order = unions[lane].order[slot];
    var rank = most;
    if (order != 0u) {
      rank = 0u;
      for (var i = 1u; i < end; i++) { rank += select(0u, 1u, comes_before(lane, i, slot, order)); }
    }
    unions[lane].nodes[slot] = select(0u, rank + 1u, rank < most);
    if (rank < most) { atomicAdd(&num_chosen, 1u); }
  }
  workgroupBarrier();
  storageBarrier();
  if (thread == 0u) { begin_tree(lane, 1u + atomicLoad(&num_chosen)); }
  for (var slot = 1u + thread; slot < end; slot += WORKGROUP_SIZE) {
    let node = unions[lane].nodes[slot];
    if (node == 0u) { continue; }
    lanes[lane].tokens[node] = unions[lane].tokens[slot];
    lanes[lane].parents[node] = unions[lane].nodes[unions[lane].parents[slot]];
    lanes[lane].depths[node] = unions[lane].depths[slot];
    lanes[lane].log_survivals[node] = unions[lane].log_survivals[slot];
    lanes[lane].scores[node] = unions[lane].scores[slot];
    lanes[lane].proposers[node] = unions[lane].proposers[slot];
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let lane = group.x;
  let start = select(unions[lane].end, 1u, MEMBER == 0u);
  let end = start + lanes[lane].num_nodes - 1u;
  if (MEMBER == 0u && thread == 0u) {
    unions[lane].places[0] = 0u;
    unions[lane].scores[0] = 0.0;
    unions[lane].nodes[0] = 0u;
  }
  let num_levels = find_deepest(lane, thread);
  take_in(lane, thread, start, num_levels);
  if (MEMBER < NUM_MEMBERS - 1u) {
    // All threads have read what is replaced here.
    storageBarrier();
    if (thread == 0u) {
      unions[lane].end = end;
      unions[lane].deepest = num_levels;
    }
    return;
  }
  find_scores(lane, thread, end, num_levels);
  storageBarrier();
  leave_out(lane, thread, end, num_levels);
  make_tree(lane, thread, end);
}
