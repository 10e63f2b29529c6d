// How many of a node's candidates may become its children: all.
fn width_of(best_log_share: f32) -> u32 {
  return TOP_K;
}
