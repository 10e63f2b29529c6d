// Target walk over each lane's tree: emit what was drawn at the root; while the node has a child with that token, go on there.
// The emitted tokens become the lane's `recent`, the last of them its root, and the accepted path's K and V are to be moved
// to the slots of its positions.
//   lanes Lane [num_lanes];  drawn u32 [num_rows], the draw of each row's node
//   tables u32: lane l's block table at l · TABLE_WORDS
//   moves vec2u [num_lanes, MAX_RECENT − 1] of (from slot, to slot), (0, 0) where there is none
// One thread a lane. Reference: engine/speculative/walk.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> drawn: array<u32>;
@group(0) @binding(2) var<storage, read> tables: array<u32>;
@group(0) @binding(3) var<storage, read_write> moves: array<vec2u>;
var<immediate> params: LaneParams;

const MAX_DEPTH = MAX_RECENT - 1u;

fn slot_at(lane: u32, index: u32) -> u32 {
  return tables[lane * TABLE_WORDS + index / BLOCK_SIZE] * BLOCK_SIZE + index % BLOCK_SIZE;
}

// The node's child with this token, among those that were verified; 0, which is no one's child, where it has none.
fn child_of(lane: u32, node: u32, token: u32) -> u32 {
  for (var i = node + 1u; i < lanes[lane].num_kept; i++) {
    if (lanes[lane].parents[i] == node && lanes[lane].tokens[i] == token) { return i; }
  }
  return 0u;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x;
  if (lane >= params.num_lanes) { return; }
  let root = lanes[lane].num_tokens - 1u;
  var num_emitted = 0u;
  var num_accepted = 0u;
  var node = 0u;
  while (lanes[lane].alive != 0u && num_emitted < MAX_RECENT) {
    let token = drawn[lanes[lane].first_row + node];
    lanes[lane].recent[num_emitted] = token;
    num_emitted++;
    if (token == NO_TOKEN) {
      lanes[lane].alive = 0u;
      break;
    }
    node = child_of(lane, node, token);
    if (node == 0u || num_accepted == MAX_DEPTH) { break; }
    num_accepted++;
    moves[lane * MAX_DEPTH + num_accepted - 1u] = vec2u(slot_at(lane, root + node), slot_at(lane, root + num_accepted));
  }
  for (var i = num_accepted; i < MAX_DEPTH; i++) { moves[lane * MAX_DEPTH + i] = vec2u(); }
  lanes[lane].num_recent = num_emitted;
  lanes[lane].num_tokens += num_emitted;
}
