// As sample_threshold, with a workgroup a row: thread t has tokens t, t + WORKGROUP_SIZE, … A cut is found from its highest bits
// down, four in a turn: each turn weighs the 15 cuts that those bits may make, and takes the highest that leaves enough.
// Sums are added as a binary tree. Reference: reference/sampling.ts
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<SamplingRow>;
@group(0) @binding(2) var<storage, read_write> threshold: array<f32>;
var<immediate> num_rows: u32;

var<workgroup> group_sums: array<vec4f, WORKGROUP_SIZE>;

fn order_bits(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn from_order_bits(bits: u32) -> f32 {
  return bitcast<f32>(select(~bits, bits & 0x7fffffffu, (bits & 0x80000000u) != 0u));
}

fn group_sum(own: vec4f, t: u32) -> vec4f {
  group_sums[t] = own;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    if (t < half) { group_sums[t] += group_sums[t + half]; }
    workgroupBarrier();
  }
  let sum = group_sums[0];
  workgroupBarrier();
  return sum;
}

fn group_max(own: f32, t: u32) -> f32 {
  group_sums[t] = vec4f(own);
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    if (t < half) { group_sums[t] = max(group_sums[t], group_sums[t + half]); }
    workgroupBarrier();
  }
  let top = group_sums[0].x;
  workgroupBarrier();
  return top;
}

/** A token's part in what a cut leaves: its mass, or 1 where tokens are counted (exact in f32 up to 2²⁴). */
fn part(z: f32, top: f32, by_mass: bool) -> f32 {
  return select(1.0, exp(z - top), by_mass);
}

/** What the tokens from the cut with these bits on have together. */
fn left_by(row: SamplingRow, base: u32, top: f32, by_mass: bool, cut: u32, t: u32) -> f32 {
  var own = 0.0;
  for (var v = t; v < VOCAB_SIZE; v += WORKGROUP_SIZE) {
    let z = scaled(row, logits[base + v]);
    own += select(0.0, part(z, top, by_mass), order_bits(z) >= cut);
  }
  return group_sum(vec4f(own), t).x;
}

/** Bits of the highest cut that leaves `wanted`; 0 where none does. */
fn highest_cut(row: SamplingRow, base: u32, top: f32, by_mass: bool, wanted: f32, t: u32) -> u32 {
  var found = 0u;
  for (var shift = 28; shift >= 0; shift -= 4) {
    let unit = 1u << u32(shift);
    let cuts = found + unit * vec4u(0u, 1u, 2u, 3u);
    var first = vec4f();
    var second = vec4f();
    var third = vec4f();
    var fourth = vec4f();
    for (var v = t; v < VOCAB_SIZE; v += WORKGROUP_SIZE) {
      let z = scaled(row, logits[base + v]);
      let bits = vec4u(order_bits(z));
      let own = vec4f(part(z, top, by_mass));
      first += select(vec4f(), own, bits >= cuts);
      second += select(vec4f(), own, bits >= cuts + 4u * unit);
      third += select(vec4f(), own, bits >= cuts + 8u * unit);
      fourth += select(vec4f(), own, bits >= cuts + 12u * unit);
    }
    var digits = 0u;
    digits += enough(group_sum(first, t), wanted);
    digits += enough(group_sum(second, t), wanted);
    digits += enough(group_sum(third, t), wanted);
    digits += enough(group_sum(fourth, t), wanted);
    // Sums fall as cuts rise. What has been found leaves enough, and is the first of these cuts, except for 0 at the start.
    found += unit * (max(digits, 1u) - 1u);
  }
  return found;
}

fn enough(sums: vec4f, wanted: f32) -> u32 {
  let are = select(vec4u(), vec4u(1u), sums >= vec4f(wanted));
  return are.x + are.y + are.z + are.w;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row_at = thread_index(group);
  if (row_at >= num_rows) { return; }
  let row = rows[row_at];
  let base = row_at * LOGITS_STRIDE;
  let by_count = row.top_k > 0u && row.top_k < VOCAB_SIZE;
  let by_mass = row.top_p < 1.0;
  if (row.inv_temperature == 0.0 || !(by_count || by_mass || row.min_p > 0.0)) {
    if (t == 0u) { threshold[row_at] = LOWEST; }
    return;
  }
  var own_top = LOWEST;
  for (var v = t; v < VOCAB_SIZE; v += WORKGROUP_SIZE) { own_top = max(own_top, scaled(row, logits[base + v])); }
  let top = group_max(own_top, t);
  var cut = order_bits(LOWEST);
  if (by_count) { cut = max(cut, highest_cut(row, base, top, false, f32(row.top_k), t)); }
  if (by_mass) {
    let wanted = row.top_p * left_by(row, base, top, true, cut, t);
    cut = min(max(cut, highest_cut(row, base, top, true, wanted, t)), order_bits(top));
  }
  // log(1) need not be 0 (WGSL: within 2⁻²¹), and the best token always stays.
  var lowest = from_order_bits(cut);
  if (row.min_p > 0.0) { lowest = max(lowest, min(top, top + log(row.min_p))); }
  if (t == 0u) { threshold[row_at] = lowest; }
}
