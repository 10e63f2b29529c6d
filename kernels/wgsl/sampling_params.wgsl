// How one row is sampled; written by the host. inv_temperature 0 marks a greedy row: no noise, no filters, raw logits.
struct SamplingRow {
  seed: vec2u,
  choice: u32,
  position: u32,
  inv_temperature: f32,
  top_p: f32,
  min_p: f32,
  top_k: u32,
  typical_p: f32,
  // 1 + the place of the sequence's logits processor (processor.wgsl), 0 where it has none.
  processor: u32,
}

const HIGHEST = 3.0e38;
const LOWEST = -3.0e38;
const NEVER_DRAWN = -3.4028234e38;
// In place of a token: none.
const NO_TOKEN = 0xffffffffu;

// z = logit / T, finite: NaN and −∞ become NEVER_DRAWN, which no cut lets pass, and +∞ becomes HIGHEST. NaN is told by its
// bits, since a compiler may take x != x for false.
fn scaled(row: SamplingRow, logit: f32) -> f32 {
  let z = select(logit * row.inv_temperature, logit, row.inv_temperature == 0.0);
  let is_nan = (bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u;
  return select(clamp(z, NEVER_DRAWN, HIGHEST), NEVER_DRAWN, is_nan);
}
