// The scaled logits that top-k, typical-p, top-p and min-p leave in play: those from threshold[i].x to threshold[i].y, which are
// LOWEST and HIGHEST where nothing is filtered. In this order on z = logit / T: the top_k largest (ties stay); of those the
// smallest set of tokens with typical_p of their mass whose −log p is nearest to their entropy, so whose z is nearest to the mean
// of z (Meister et al., "Locally typical sampling", arXiv 2202.00666); of those the smallest set of best ones with top_p of their
// mass, and z ≥ max + log(min_p). Bounds are found by bisection over the order-preserving bits of f32 (order_bits.wgsl).
//   logits    f32 [numRows, LOGITS_STRIDE], of which VOCAB_SIZE count;  rows SamplingRow [numRows];  threshold vec2f [numRows]
// One thread a row, sums in ascending order of the token. Reference: reference/sampling.ts
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<SamplingRow>;
@group(0) @binding(2) var<storage, read_write> threshold: array<vec2f>;
var<immediate> num_rows: u32;

fn count_from(row: SamplingRow, base: u32, cut: f32) -> u32 {
  var count = 0u;
  for (var v = 0u; v < VOCAB_SIZE; v++) { count += select(0u, 1u, scaled(row, logits[base + v]) >= cut); }
  return count;
}

// Σ exp(z − range.y) over z in the range.
fn mass_in(row: SamplingRow, base: u32, range: vec2f, cut: f32) -> f32 {
  var mass = 0.0;
  for (var v = 0u; v < VOCAB_SIZE; v++) {
    let z = scaled(row, logits[base + v]);
    if (z >= cut && z <= range.y) { mass += exp(z - range.y); }
  }
  return mass;
}

// Σ exp(z − range.y) over z in the range at most `distance` from `center`.
fn mass_near(row: SamplingRow, base: u32, range: vec2f, center: f32, distance: f32) -> f32 {
  var mass = 0.0;
  for (var v = 0u; v < VOCAB_SIZE; v++) {
    let z = scaled(row, logits[base + v]);
    if (z >= range.x && abs(z - center) <= distance) { mass += exp(z - range.y); }
  }
  return mass;
}

// The part of the range that typical_p keeps. A distance from the mean is monotone in z on either side: what is near is a range.
fn typical_range(row: SamplingRow, base: u32, range: vec2f) -> vec2f {
  var mass = 0.0;
  var moment = 0.0;
  for (var v = 0u; v < VOCAB_SIZE; v++) {
    let z = scaled(row, logits[base + v]);
    if (z >= range.x) {
      let weight = exp(z - range.y);
      mass += weight;
      // What has no weight has no part in the mean, however far it lies.
      if (weight > 0.0) { moment += weight * (z - range.y); }
    }
  }
  let center = range.y + moment / mass;
  let wanted = row.typical_p * mass;
  var low = 0u;
  var high = bitcast<u32>(HIGHEST);
  while (low < high) {
    let middle = low + (high - low) / 2u;
    if (mass_near(row, base, range, center, bitcast<f32>(middle)) >= wanted) { high = middle; } else { low = middle + 1u; }
  }
  let distance = bitcast<f32>(low);
  var kept = vec2f(HIGHEST, LOWEST);
  for (var v = 0u; v < VOCAB_SIZE; v++) {
    let z = scaled(row, logits[base + v]);
    if (z >= range.x && abs(z - center) <= distance) { kept = vec2f(min(kept.x, z), max(kept.y, z)); }
  }
  return select(range, kept, kept.x <= kept.y);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows) { return; }
  let row = rows[thread];
  let base = thread * LOGITS_STRIDE;
  let by_count = row.top_k > 0u && row.top_k < VOCAB_SIZE;
  let by_typical = row.typical_p < 1.0;
  let by_mass = row.top_p < 1.0;
  if (row.inv_temperature == 0.0 || !(by_count || by_typical || by_mass || row.min_p > 0.0)) {
    threshold[thread] = vec2f(LOWEST, HIGHEST);
    return;
  }
  var top = LOWEST;
  for (var v = 0u; v < VOCAB_SIZE; v++) { top = max(top, scaled(row, logits[base + v])); }
  var range = vec2f(LOWEST, top);
  if (by_count) {
    var low = order_bits(range.x);
    var high = order_bits(range.y);
    while (low < high) {
      let middle = low + (high - low + 1u) / 2u;
      if (count_from(row, base, from_order_bits(middle)) >= row.top_k) { low = middle; } else { high = middle - 1u; }
    }
    range.x = from_order_bits(low);
  }
  if (by_typical) { range = typical_range(row, base, range); }
  if (by_mass) {
    let wanted = row.top_p * mass_in(row, base, range, range.x);
    var low = order_bits(range.x);
    var high = order_bits(range.y);
    while (low < high) {
      let middle = low + (high - low + 1u) / 2u;
      if (mass_in(row, base, range, from_order_bits(middle)) >= wanted) { low = middle; } else { high = middle - 1u; }
    }
    range.x = from_order_bits(low);
  }
  // log(1) need not be 0 (WGSL: within 2⁻²¹), and the best token always stays.
  if (row.min_p > 0.0) { range.x = max(range.x, min(range.y, range.y + log(row.min_p))); }
  threshold[thread] = range;
}
