// Rows of a drafter's pass over the tokens that the last step emitted: row = lane · num_nodes + i is `recent[i]`, and the
// last of them samples, at index `lane`. The row at position p holds token p + SHIFT: where another drafter has to see a text from its
// beginning, the first SHIFT tokens have none here. Rows beyond those idle; no lane has more than num_nodes.
// One thread a row. What it reads of the target: draft_reads_*. Reference: engine/runner/batch.ts
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  let lane = row / params.num_nodes;
  let i = row % params.num_nodes;
  if (lane >= params.num_lanes) { return; }
  let num_known = lanes[lane].num_tokens;
  let num_recent = lanes[lane].num_recent;
  let num_rows = select(0u, min(num_recent, num_known - SHIFT), drafts(lane));
  if (i < num_rows) {
    let position = num_known - SHIFT - num_rows + i;
    let token = lanes[lane].recent[num_recent - num_rows + i];
    write_row(row, lane, token, slot_at(lane, position), position, position + 1u, 0u);
    reads_known(row, lane, position);
  } else {
    write_idle_row(row, lane);
    reads_nothing(row, lane);
  }
  if (i == 0u) { write_sample(lane, row + max(num_rows, 1u) - 1u, lane, num_known); }
}
