// How many of a node's candidates may become its children: the surer the drafter is of the best one, the fewer (CaPE).
//   cape vec2f [NUM_WIDTHS] of (highest log share of the best candidate, candidates), ascending; the last one holds beyond it too
// Binding WIDTHS. Reference: engine/speculative/glide/cape.ts
@group(0) @binding(WIDTHS) var<storage, read> cape: array<vec2f>;

fn width_of(best_log_share: f32) -> u32 {
  for (var i = 0u; i < NUM_WIDTHS - 1u; i++) {
    if (best_log_share <= cape[i].x) { return u32(cape[i].y); }
  }
  return u32(cape[NUM_WIDTHS - 1u].y);
}
