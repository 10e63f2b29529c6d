// The finished tree: the candidates that were drawn last (depth `level`) go to the pool, and the best num_nodes − 1 of the pool
// become the lane's tree below its root, best first; or those that have a place in a shape (draft_score_shape), in its order.
//   lanes Lane [num_lanes]; drawn, log_shares and pools as in draft_pool
// One thread a lane. Needs lane_tree and best_nodes. Reference: engine/speculative/tree-builder.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> drawn: array<u32>;
@group(0) @binding(2) var<storage, read> log_shares: array<f32>;
@group(0) @binding(3) var<storage, read_write> pools: array<Pool>;
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x;
  if (lane >= params.num_lanes) { return; }
  let level = params.level;
  let start = level_start(level);
  for (var i = 0u; i < level_size(level); i++) { pools[lane].candidates[start + i] = fresh(lane, level, i); }

  let most = min(params.num_nodes, MAX_NODES) - 1u;
  for (var i = 0u; i < start + level_size(level); i++) {
    let score = pools[lane].candidates[i].score;
    if (score != LOWEST) { consider(i, score, most); }
  }
  begin_tree(lane, 1u + num_best);
  for (var node = 1u; node <= num_best; node++) {
    let chosen = best_candidates[node - 1u];
    let candidate = pools[lane].candidates[chosen];
    lanes[lane].tokens[node] = candidate.token;
    lanes[lane].parents[node] = node_of(candidate.parent, node);
    lanes[lane].depths[node] = select(2u + (chosen - TOP_K) / (params.num_expanded * TOP_K), 1u, chosen < TOP_K);
    lanes[lane].log_survivals[node] = candidate.log_survival;
    lanes[lane].scores[node] = best_scores[node - 1u];
  }
}
