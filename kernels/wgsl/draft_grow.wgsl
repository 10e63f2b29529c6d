// One level of a dynamic draft tree: the candidates that were drawn last (depth `level`) go to the pool, and the TOP_K best of
// them become rows of the next pass: row = lane · TOP_K + rank. A candidate that is not among the best num_nodes − 1 of the
// pool so far is not expanded: neither it nor its descendants can end up in the tree.
//   pools Pool [num_lanes]; others as in draft_pool and lane_batch
// An expanded node's K and V go to slot root + id: they lie behind the known tokens, and are forgotten with the step.
// One thread a row; it reads older levels of the pool and writes candidates of the node of its rank of the level before.
// Reference: engine/speculative/tree-builder.ts
@group(0) @binding(2) var<storage, read> drawn: array<u32>;
@group(0) @binding(3) var<storage, read> log_shares: array<f32>;
@group(0) @binding(4) var<storage, read_write> pools: array<Pool>;
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  let lane = row / TOP_K;
  let rank = row % TOP_K;
  if (lane >= params.num_lanes) { return; }
  let level = params.level;
  let start = level_start(level);
  let size = level_size(level);
  for (var i = rank * TOP_K; i < min((rank + 1u) * TOP_K, size); i++) {
    pools[lane].candidates[start + i] = fresh(lane, level, i);
  }

  var best: array<u32, TOP_K>;
  var scores: array<f32, TOP_K>;
  for (var i = 0u; i < TOP_K; i++) { scores[i] = LOWEST; }
  for (var i = 0u; i < size; i++) {
    let score = fresh(lane, level, i).score;
    if (!(score > scores[TOP_K - 1u])) { continue; }
    var at = TOP_K - 1u;
    while (at > 0u && score > scores[max(at, 1u) - 1u]) {
      scores[at] = scores[at - 1u];
      best[at] = best[at - 1u];
      at--;
    }
    scores[at] = score;
    best[at] = i;
  }

  let chosen = best[rank];
  let score = scores[rank];
  var num_better = rank;
  for (var i = 0u; i < start; i++) { num_better += select(0u, 1u, pools[lane].candidates[i].score >= score); }
  let node = 1u + (level - 1u) * TOP_K + rank;
  if (lanes[lane].alive == 0u || score == LOWEST || num_better + 1u >= params.num_nodes) {
    pools[lane].expanded[node] = NONE;
    write_idle_row(row, lane);
    write_sample(row, row, lane, 0u);
    return;
  }
  pools[lane].expanded[node] = start + chosen;
  let parent = parent_id(level, chosen);
  pools[lane].parent_ids[node] = parent;

  let num_known = lanes[lane].num_tokens;
  let root = num_known - 1u;
  let path = PATHS + row * MAX_PATH;
  var ancestor = node;
  for (var d = level; d > 0u; d--) {
    batch[TABLES + path + d - 1u] = ancestor - 1u;
    ancestor = select(pools[lane].parent_ids[ancestor], parent, d == level);
  }
  write_row(row, lane, fresh(lane, level, chosen).token, slot_at(lane, root + node), root + level, num_known, path);
  write_sample(row, row, lane, num_known + level);
}
