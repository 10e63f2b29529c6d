// What Medusa's heads are to look at, one row a lane: the target's last feature, of the token before the root, and how each head's
// candidates are drawn: head h guesses the token at position num_tokens + h, by its logits alone.
//   lanes Lane [num_lanes];  target_tables u32: lane l's block table at l · TABLE_WORDS
//   slots u32 [num_lanes];  roots u32 [num_lanes]: the last known tokens;  rows SamplingRow: head h of lane l is at (h / HEADS_PER_GROUP) · ROWS_STRIDE + (h % HEADS_PER_GROUP) ·
//   num_lanes + l
// One thread a head of a lane. Lanes for which nothing is drafted look at a slot of the reserved block. Reference: engine/speculative/medusa/runner.ts
@group(0) @binding(0) var<storage, read> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> target_tables: array<u32>;
@group(0) @binding(2) var<storage, read_write> slots: array<u32>;
@group(0) @binding(3) var<storage, read_write> roots: array<u32>;
@group(0) @binding(4) var<storage, read_write> rows: array<SamplingRow>;
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x / NUM_HEADS;
  let head = id.x % NUM_HEADS;
  if (lane >= params.num_lanes) { return; }
  let num_tokens = lanes[lane].num_tokens;
  var row = lanes[lane].sampling;
  row.position = num_tokens + head;
  row.inv_temperature = 0.0;
  rows[head / HEADS_PER_GROUP * ROWS_STRIDE + head % HEADS_PER_GROUP * params.num_lanes + lane] = row;
  if (head > 0u) { return; }
  let last = num_tokens - 2u;
  roots[lane] = lanes[lane].recent[max(lanes[lane].num_recent, 1u) - 1u];
  slots[lane] = 0u;
  if (drafts(lane)) {
    slots[lane] = target_tables[lane * TABLE_WORDS + last / BLOCK_SIZE] * BLOCK_SIZE + last % BLOCK_SIZE;
  }
}
