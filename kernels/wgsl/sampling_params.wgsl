// How one row is sampled; written by the host. inv_temperature 0 marks a greedy row: no noise, no filters, raw logits.
struct SamplingRow {
  seed: vec2u,
  choice: u32,
  position: u32,
  inv_temperature: f32,
  top_p: f32,
  min_p: f32,
  top_k: u32,
}

fn scaled(row: SamplingRow, logit: f32) -> f32 {
  return select(logit * row.inv_temperature, logit, row.inv_temperature == 0.0);
}
