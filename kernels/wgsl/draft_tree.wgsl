// The finished tree: the candidates that were drawn last (depth `level`) go to the pool, and the best num_nodes − 1 of the pool
// become the lane's tree below its root, best first; or those that have a place in a shape (draft_score_shape), in its order.
//   lanes Lane [num_lanes]; drawn, log_shares and pools as in draft_pool
// One thread a lane. Reference: engine/speculative/tree-builder.ts
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
  var chosen: array<u32, MAX_NODES>;
  var scores: array<f32, MAX_NODES>;
  var count = 0u;
  for (var i = 0u; most > 0u && i < start + level_size(level); i++) {
    let score = pools[lane].candidates[i].score;
    if (score == LOWEST || (count == most && !(score > scores[most - 1u]))) { continue; }
    var at = min(count, most - 1u);
    while (at > 0u && score > scores[max(at, 1u) - 1u]) {
      scores[at] = scores[at - 1u];
      chosen[at] = chosen[at - 1u];
      at--;
    }
    scores[at] = score;
    chosen[at] = i;
    count = min(count + 1u, most);
  }

  begin_tree(lane, 1u + count);
  for (var i = 0u; i < count; i++) {
    let candidate = pools[lane].candidates[chosen[i]];
    var parent = 0u;
    for (var j = 0u; j < i; j++) { parent = select(parent, j + 1u, chosen[j] == candidate.parent); }
    let node = i + 1u;
    lanes[lane].tokens[node] = candidate.token;
    lanes[lane].parents[node] = parent;
    lanes[lane].depths[node] = select(2u + (chosen[i] - TOP_K) / (params.num_expanded * TOP_K), 1u, chosen[i] < TOP_K);
    lanes[lane].log_survivals[node] = candidate.log_survival;
    lanes[lane].scores[node] = scores[i];
  }
}
