// A lane: one sequence of a batch that decodes on the device, with the tree that is being verified. Written by the host when
// the batch is put together (ops/lanes.ts), then by draft_tree, medusa_tree, lane_unite, lane_budget and lane_walk, and by the host to let a
// lane idle whose sequence has ended; read back after every step.
// Needs sampling_params, and `lanes` bound.
struct Lane {
  // As the host set it, but for `position`, which is a row's own.
  sampling: SamplingRow,
  // 0 once a draw found no number to choose from, or the sequence has ended: the lane's rows idle from then on.
  alive: u32,
  // 0 where the drafter has not seen the text or lacks blocks: the lane's tree is its root.
  is_drafted: u32,
  // Known tokens, the root included.
  num_tokens: u32,
  // The tokens that the last step emitted; the last of them is the root.
  num_recent: u32,
  recent: array<u32, MAX_RECENT>,
  // Draft tree, node 0 its root; parents come before children, and best ones first.
  num_nodes: u32,
  // The nodes that are verified, the first ones; node i in row first_row + i of the verify pass.
  num_kept: u32,
  first_row: u32,
  tokens: array<u32, MAX_NODES>,
  parents: array<u32, MAX_NODES>,
  depths: array<u32, MAX_NODES>,
  // The drafter's log-probability that a node is accepted, given that its parent is.
  log_survivals: array<f32, MAX_NODES>,
  // What nodes were chosen by: Σ log_survivals from the root, where trees have no given shape.
  scores: array<f32, MAX_NODES>,
  // Where several drafters propose into one tree, a bit for each that proposed the node.
  proposers: array<u32, MAX_NODES>,
}

fn drafts(lane: u32) -> bool { return lanes[lane].alive != 0u && lanes[lane].is_drafted != 0u; }

struct LaneParams {
  num_lanes: u32,
  // Nodes of a tree at most; in draft_catch_up, a lane's rows in the drafter's pass.
  num_nodes: u32,
  // Of a draft: depth of the nodes that were drawn last.
  level: u32,
  // Of a verify pass.
  num_rows: u32,
  // Nodes that a level of a draft expands, below its root.
  num_expanded: u32,
}
