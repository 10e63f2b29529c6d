// Target walk over each lane's tree: emit what was drawn at the root; while the node has a child with that token, go on there.
// The emitted tokens become the lane's `recent`, the last of them its root, and the accepted path's K and V are to be moved
// to the slots of its positions.
//   lanes Lane [num_lanes];  drawn u32 [num_rows], the draw of each row's node
//   tables u32: lane l's block table at l · TABLE_WORDS
//   moves vec2u [num_lanes, MAX_RECENT − 1] of (from slot, to slot), (0, 0) where there is none
// One workgroup a lane: all nodes ask at once whether the walk would come to them from their parents, and one thread alone goes from
// node to node, which needs nothing but workgroup memory then. Reference: engine/speculative/walk.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> drawn: array<u32>;
@group(0) @binding(2) var<storage, read> tables: array<u32>;
@group(0) @binding(3) var<storage, read_write> moves: array<vec2u>;

const MAX_DEPTH = MAX_RECENT - 1u;

// Of each node the child with the token that was drawn there, among those that were verified; 0, which is no one's child, where it
// has none. Siblings differ in their tokens.
var<workgroup> drawn_child: array<u32, MAX_NODES>;
// The accepted nodes, from depth 1 on.
var<workgroup> path: array<u32, MAX_RECENT>;
var<workgroup> num_accepted: u32;

fn slot_at(lane: u32, index: u32) -> u32 {
  return tables[lane * TABLE_WORDS + index / BLOCK_SIZE] * BLOCK_SIZE + index % BLOCK_SIZE;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let lane = group.x;
  let is_alive = lanes[lane].alive != 0u;
  let first_row = lanes[lane].first_row;
  let num_kept = select(0u, lanes[lane].num_kept, is_alive);
  let root = lanes[lane].num_tokens - 1u;
  for (var i = 1u + thread; i < num_kept; i += WORKGROUP_SIZE) {
    let parent = lanes[lane].parents[i];
    if (lanes[lane].tokens[i] == drawn[first_row + parent]) { drawn_child[parent] = i; }
  }
  workgroupBarrier();
  if (thread == 0u) {
    var node = drawn_child[0];
    var depth = 0u;
    while (node != 0u && depth < MAX_DEPTH) {
      depth++;
      path[depth] = node;
      node = drawn_child[node];
    }
    num_accepted = depth;
  }
  workgroupBarrier();
  for (var i = thread; i < MAX_DEPTH; i += WORKGROUP_SIZE) {
    var slots = vec2u();
    if (i < num_accepted) { slots = vec2u(slot_at(lane, root + path[i + 1u]), slot_at(lane, root + i + 1u)); }
    moves[lane * MAX_DEPTH + i] = slots;
  }
  let num_emitted = select(0u, num_accepted + 1u, is_alive);
  for (var i = thread; i < num_emitted; i += WORKGROUP_SIZE) {
    // path[0] is the root.
    let token = drawn[first_row + path[i]];
    lanes[lane].recent[i] = token;
    // Only the last one may be none: no node has it.
    if (token == NO_TOKEN) { lanes[lane].alive = 0u; }
  }
  if (thread == 0u) {
    lanes[lane].num_recent = num_emitted;
    lanes[lane].num_tokens += num_emitted;
  }
}
