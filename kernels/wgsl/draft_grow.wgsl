// One level of a draft tree: the candidates that were drawn last (depth `level`) go to the pool, and the num_expanded best
// of them, at most MAX_FRONTIER, become rows of the next pass: row = lane · num_expanded + rank. A candidate that is not among the best num_nodes − 1 of
// the pool so far is not expanded: neither it nor its descendants can end up in the tree.
//   pools Pool [num_lanes]; others as in draft_pool and lane_batch. What rows read of the target: draft_reads_*
// The row at position p holds token p + SHIFT. An expanded node's K and V go to slot root + id, root being the last known row's:
// they lie behind the known tokens, and are forgotten with the step.
// One thread a row; it reads older levels of the pool and writes candidates of the node of its rank of the level before.
// Reference: engine/speculative/tree-builder.ts
@group(0) @binding(2) var<storage, read> drawn: array<u32>;
@group(0) @binding(3) var<storage, read> log_shares: array<f32>;
@group(0) @binding(4) var<storage, read_write> pools: array<Pool>;
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  let num_expanded = params.num_expanded;
  let lane = row / num_expanded;
  let rank = row % num_expanded;
  if (lane >= params.num_lanes) { return; }
  let level = params.level;
  let start = level_start(level);
  let size = level_size(level);
  for (var i = rank * TOP_K; i < min((rank + 1u) * TOP_K, size); i++) {
    pools[lane].candidates[start + i] = fresh(lane, level, i);
  }

  var best: array<u32, MAX_FRONTIER>;
  var scores: array<f32, MAX_FRONTIER>;
  for (var i = 0u; i < num_expanded; i++) { scores[i] = LOWEST; }
  for (var i = 0u; i < size; i++) {
    let score = fresh(lane, level, i).score;
    if (!(score > scores[num_expanded - 1u]) || !is_inner(score)) { continue; }
    var at = num_expanded - 1u;
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
  let node = 1u + (level - 1u) * num_expanded + rank;
  if (lanes[lane].alive == 0u || score == LOWEST || num_better + 1u >= params.num_nodes) {
    pools[lane].expanded[node] = NONE;
    write_idle_row(row, lane);
    reads_nothing(row, lane);
    write_sample(row, row, lane, 0u);
    return;
  }
  pools[lane].expanded[node] = start + chosen;
  let parent = parent_id(level, chosen);
  pools[lane].parent_ids[node] = parent;

  let num_tokens = lanes[lane].num_tokens;
  let num_known = num_tokens - SHIFT;
  let root = num_known - 1u;
  let path = PATHS + row * MAX_PATH;
  var ancestor = node;
  for (var d = level; d > 0u; d--) {
    batch[TABLES + path + d - 1u] = ancestor - 1u;
    ancestor = select(pools[lane].parent_ids[ancestor], parent, d == level);
  }
  write_row(row, lane, fresh(lane, level, chosen).token, slot_at(lane, root + node), root + level, num_known, path);
  reads_node(row, lane, slot_at(lane, root + parent));
  write_sample(row, row, lane, num_tokens + level);
}
