// One level of a draft tree: of the candidates that were drawn last (depth `level`) and are among the best of all so far, the
// num_expanded best that may have nodes below them become rows of the next pass: row = lane · num_expanded + rank. Rows that are left over idle.
// What rows read of the target: draft_reads_*. The row at position p holds token p + SHIFT. An expanded node's K and V go to slot
// root + id, root being the last known row's: they lie behind the known tokens, and are forgotten with the step.
// One workgroup a lane. Needs draft_pool and lane_batch.
@group(0) @binding(2) var<storage, read> drawn: array<u32>;
@group(0) @binding(3) var<storage, read> log_shares: array<f32>;
@group(0) @binding(4) var<storage, read_write> pools: array<Pool>;
var<immediate> params: LaneParams;

// Whether the kept candidate is of the level that was drawn last, and may have nodes below it.
fn is_open(lane: u32, level: u32, at: u32) -> bool {
  let candidate = &pools[lane].best[level % 2u][at];
  return (*candidate).parent >= first_id(level - 1u) && is_inner((*candidate).score);
}

fn expand(lane: u32, level: u32, candidate: Candidate, rank: u32) {
  let id = first_id(level) + rank;
  pools[lane].scores[id] = candidate.score;
  pools[lane].parents[id] = candidate.parent;
  let row = lane * params.num_expanded + rank;
  let num_tokens = lanes[lane].num_tokens;
  let num_known = num_tokens - SHIFT;
  let root = num_known - 1u;
  let path = PATHS + row * MAX_PATH;
  var ancestor = id;
  for (var d = level; d > 0u; d--) {
    batch[TABLES + path + d - 1u] = ancestor - 1u;
    ancestor = pools[lane].parents[ancestor];
  }
  write_row(row, lane, candidate.token, slot_at(lane, root + id), root + level, num_known, path);
  reads_node(row, lane, slot_at(lane, root + candidate.parent));
  write_sample(row, row, lane, num_tokens + level);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let lane = group.x;
  let level = params.level;
  for (var rank = thread; rank < params.num_expanded; rank += WORKGROUP_SIZE) {
    pools[lane].scores[first_id(level) + rank] = LOWEST;
  }
  collect(lane, level, thread);
  let num_best = keep_best(lane, level, thread);
  for (var i = thread; i < num_best; i += WORKGROUP_SIZE) {
    if (!is_open(lane, level, i)) { continue; }
    var rank = 0u;
    for (var j = 0u; j < i; j++) { rank += select(0u, 1u, is_open(lane, level, j)); }
    if (rank >= params.num_expanded) { continue; }
    pools[lane].best[level % 2u][i].id = first_id(level) + rank;
    expand(lane, level, pools[lane].best[level % 2u][i], rank);
  }
  storageBarrier();
  for (var rank = thread; rank < params.num_expanded; rank += WORKGROUP_SIZE) {
    if (pools[lane].scores[first_id(level) + rank] != LOWEST) { continue; }
    let row = lane * params.num_expanded + rank;
    write_idle_row(row, lane);
    reads_nothing(row, lane);
    write_sample(row, row, lane, 0u);
  }
}
