// The lowest scaled logit that top-k, top-p and min-p leave in play: threshold[i], or LOWEST where nothing is filtered.
// In this order on z = logit / T: the top_k largest (ties stay), of those the smallest set of best tokens with top_p of
// their mass, and z ≥ max + log(min_p). The cut is found by bisection over the order-preserving bits of f32.
//   logits    f32 [numRows, LOGITS_STRIDE], of which VOCAB_SIZE count;  rows SamplingRow [numRows];  threshold f32 [numRows]
// One thread a row, sums in ascending order of the token. Reference: reference/sampling.ts
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<SamplingRow>;
@group(0) @binding(2) var<storage, read_write> threshold: array<f32>;
var<immediate> num_rows: u32;

fn order_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn from_order_bits(bits: u32) -> f32 {
  return bitcast<f32>(select(~bits, bits & 0x7fffffffu, (bits & 0x80000000u) != 0u));
}

fn count_from(row: SamplingRow, base: u32, cut: f32) -> u32 {
  var count = 0u;
  for (var v = 0u; v < VOCAB_SIZE; v++) { count += select(0u, 1u, scaled(row, logits[base + v]) >= cut); }
  return count;
}

fn mass_from(row: SamplingRow, base: u32, top: f32, cut: f32) -> f32 {
  var mass = 0.0;
  for (var v = 0u; v < VOCAB_SIZE; v++) {
    let z = scaled(row, logits[base + v]);
    if (z >= cut) { mass += exp(z - top); }
  }
  return mass;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows) { return; }
  let row = rows[thread];
  let base = thread * LOGITS_STRIDE;
  var cut = LOWEST;
  let by_count = row.top_k > 0u && row.top_k < VOCAB_SIZE;
  let by_mass = row.top_p < 1.0;
  if (row.inv_temperature == 0.0 || !(by_count || by_mass || row.min_p > 0.0)) {
    threshold[thread] = cut;
    return;
  }
  var top = LOWEST;
  for (var v = 0u; v < VOCAB_SIZE; v++) { top = max(top, scaled(row, logits[base + v])); }
  if (by_count) {
    var low = order_bits(cut);
    var high = order_bits(top);
    while (low < high) {
      let middle = low + (high - low + 1u) / 2u;
      if (count_from(row, base, from_order_bits(middle)) >= row.top_k) { low = middle; } else { high = middle - 1u; }
    }
    cut = from_order_bits(low);
  }
  if (by_mass) {
    let wanted = row.top_p * mass_from(row, base, top, cut);
    var low = order_bits(cut);
    var high = order_bits(top);
    while (low < high) {
      let middle = low + (high - low + 1u) / 2u;
      if (mass_from(row, base, top, from_order_bits(middle)) >= wanted) { low = middle; } else { high = middle - 1u; }
    }
    cut = from_order_bits(low);
  }
  // log(1) need not be 0 (WGSL: within 2⁻²¹), and the best token always stays.
  if (row.min_p > 0.0) { cut = max(cut, min(top, top + log(row.min_p))); }
  threshold[thread] = cut;
}
