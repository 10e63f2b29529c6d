// The finished tree: the best num_nodes − 1 of all candidates, those that were drawn last (depth `level`) included, become the lane's
// tree below its root, best first; where trees have a shape (draft_score_shape), in its order.
// One workgroup a lane. Needs draft_pool and lane_tree.
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> drawn: array<u32>;
@group(0) @binding(2) var<storage, read> log_shares: array<f32>;
@group(0) @binding(3) var<storage, read_write> pools: array<Pool>;
var<immediate> params: LaneParams;

// The node that the expanded candidate became, of those before `node`; 0 for the root.
fn node_of(lane: u32, id: u32, node: u32) -> u32 {
  if (id == 0u) { return 0u; }
  var found = 0u;
  for (var i = 1u; i < node; i++) { found = select(found, i, pools[lane].best[params.level % 2u][i - 1u].id == id); }
  return found;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let lane = group.x;
  collect(lane, params.level, thread);
  let num_best = keep_best(lane, params.level, thread);
  if (thread == 0u) { begin_tree(lane, 1u + num_best); }
  for (var node = 1u + thread; node <= num_best; node += WORKGROUP_SIZE) {
    let candidate = pools[lane].best[params.level % 2u][node - 1u];
    let parent = candidate.parent;
    lanes[lane].tokens[node] = candidate.token;
    lanes[lane].parents[node] = node_of(lane, parent, node);
    lanes[lane].depths[node] = select(2u + (parent - 1u) / params.num_expanded, 1u, parent == 0u);
    lanes[lane].log_survivals[node] = candidate.log_survival;
    lanes[lane].scores[node] = candidate.score;
  }
}
