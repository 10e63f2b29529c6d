// Candidates of a tree whose shape is given are ranked by their place in it: node n of the shape scores −n. What has no place is none.
//   shape_children u32 [MAX_NODES, TOP_K]: the child of each node and rank, 0 where there is none
// Binding SHAPE. Needs lanes. Reference: engine/speculative/tree-shape.ts
@group(0) @binding(SHAPE) var<storage, read> shape_children: array<u32>;

fn shape_child(parent_score: f32, rank: u32) -> u32 {
  let child = shape_children[u32(-parent_score) * TOP_K + rank];
  return select(child, 0u, child >= params.num_nodes);
}

fn score_of(parent_score: f32, log_survival: f32, rank: u32) -> f32 {
  let child = shape_child(parent_score, rank);
  return select(-f32(child), LOWEST, child == 0u);
}

// Whether there is anything below the node.
fn is_inner(score: f32) -> bool { return shape_child(score, 0u) != 0u; }
