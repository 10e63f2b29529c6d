// Rows of a verify pass: row = lane · num_nodes + node is node of the lane's tree, whose K and V go to slot root + node, at
// position root + depth. Each row reads the known tokens and its own path; each samples. Nodes that a tree lacks idle.
// One thread a row. Reference: engine/runner/batch.ts, with trees as large as can be.
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  let lane = row / params.num_nodes;
  let node = row % params.num_nodes;
  if (lane >= params.num_lanes) { return; }
  if (lanes[lane].alive == 0u || node >= lanes[lane].num_nodes) {
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
