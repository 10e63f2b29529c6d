// Rows of a verify pass: the nodes of each lane's tree that are kept, lane by lane. Node i's K and V go to slot root + i, at
// position root + depth. Each row reads the known tokens and its own path; each samples. Rows between lanes and behind them idle.
// One thread a row. Reference: engine/runner/batch.ts
var<immediate> params: LaneParams;

// The lane whose rows the row is among, or comes after.
fn lane_of(row: u32) -> u32 {
  var low = 0u;
  var high = params.num_lanes;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (lanes[middle].first_row <= row) { low = middle; } else { high = middle; }
  }
  return low;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.num_rows) { return; }
  let lane = lane_of(row);
  let node = row - lanes[lane].first_row;
  if (lanes[lane].alive == 0u || node >= lanes[lane].num_kept) {
    write_idle_row(row, lane);
    write_sample(row, row, lane, 0u);
    return;
  }
  let num_known = lanes[lane].num_tokens;
  let root = num_known - 1u;
  if (node == 0u) {
    write_row(row, lane, lanes[lane].recent[lanes[lane].num_recent - 1u], slot_at(lane, root), root, num_known, 0u);
    write_sample(row, row, lane, num_known);
    return;
  }
  let depth = lanes[lane].depths[node];
  let path = PATHS + row * MAX_PATH;
  var ancestor = node;
  for (var d = depth; d > 0u; d--) {
    batch[TABLES + path + d - 1u] = ancestor - 1u;
    ancestor = lanes[lane].parents[ancestor];
  }
  write_row(row, lane, lanes[lane].tokens[node], slot_at(lane, root + node), root + depth, num_known, path);
  write_sample(row, row, lane, num_known + depth);
}
