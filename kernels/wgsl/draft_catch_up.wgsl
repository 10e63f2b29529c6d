// Rows of a drafter's pass over the tokens that the last step emitted: row = lane · num_nodes + i is `recent[i]`, and the
// last of them samples, at index `lane`. The row at position p holds token p + SHIFT. Rows beyond num_recent idle; no lane's is
// more than num_nodes.
// One thread a row. What it reads of the target: draft_reads_*. Reference: engine/runner/batch.ts
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  let lane = row / params.num_nodes;
  let i = row % params.num_nodes;
  if (lane >= params.num_lanes) { return; }
  let num_recent = select(0u, lanes[lane].num_recent, lanes[lane].alive != 0u);
  let num_known = lanes[lane].num_tokens;
  if (i < num_recent) {
    let position = num_known - SHIFT - num_recent + i;
    write_row(row, lane, lanes[lane].recent[i], slot_at(lane, position), position, position + 1u, 0u);
    reads_known(row, lane, position);
  } else {
    write_idle_row(row, lane);
    reads_nothing(row, lane);
  }
  if (i == 0u) { write_sample(lane, row + max(num_recent, 1u) - 1u, lane, num_known); }
}
