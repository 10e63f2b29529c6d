// A lane's tree begins with its root, the last token that it emitted. All nodes stay, until lane_budget says otherwise.
// Needs lanes, and `lanes` and `params` bound.
fn begin_tree(lane: u32, num_nodes: u32) {
  lanes[lane].num_nodes = num_nodes;
  lanes[lane].num_kept = num_nodes;
  lanes[lane].first_row = lane * params.num_nodes;
  lanes[lane].tokens[0] = lanes[lane].recent[max(lanes[lane].num_recent, 1u) - 1u];
  lanes[lane].parents[0] = 0u;
  lanes[lane].depths[0] = 0u;
  lanes[lane].log_survivals[0] = 0.0;
  lanes[lane].scores[0] = 0.0;
}
