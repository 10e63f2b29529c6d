// As sample_threshold, with a workgroup a row: thread t has tokens t, t + WORKGROUP_SIZE, … A bound is found from its highest
// bits down, four in a turn: each turn weighs the 15 bounds that those bits may make, and takes the highest that leaves enough.
// Sums are added as a binary tree. Reference: reference/sampling.ts
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<SamplingRow>;
@group(0) @binding(2) var<storage, read_write> threshold: array<vec2f>;
var<immediate> num_rows: u32;

var<workgroup> group_sums: array<vec4f, WORKGROUP_SIZE>;

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

/** What a bound is looked for in, and by which measure. */
struct Search {
  /** Scaled logits in play: no others count. */
  range: vec2f,
  /** Tokens are weighed by their mass; otherwise they are counted (exact in f32 up to 2²⁴). */
  by_mass: bool,
  /** Bounds are on the nearness to `center`, not on z itself. */
  by_nearness: bool,
  center: f32,
}

/** Bits that grow with what bounds are on: a distance is not negative, so that its own bits grow with it. */
fn key(search: Search, z: f32) -> u32 {
  return select(order_bits(z), ~bitcast<u32>(abs(z - search.center)), search.by_nearness);
}

fn weight(search: Search, z: f32) -> f32 {
  let own = select(1.0, exp(z - search.range.y), search.by_mass);
  return select(0.0, own, z >= search.range.x && z <= search.range.y);
}

/** What the range has in all: weight, and Σ weight · (z − range.y). */
fn total(row: SamplingRow, base: u32, search: Search, t: u32) -> vec2f {
  var own = vec4f();
  for (var v = t; v < VOCAB_SIZE; v += WORKGROUP_SIZE) {
    let z = scaled(row, logits[base + v]);
    let w = weight(search, z);
    // What has no weight has no part in the mean, however far it lies.
    own += vec4f(w, select(0.0, w * (z - search.range.y), w > 0.0), 0.0, 0.0);
  }
  return group_sum(own, t).xy;
}

/** The highest bound that leaves `wanted`; 0 where none does. */
fn highest_bound(row: SamplingRow, base: u32, search: Search, wanted: f32, t: u32) -> u32 {
  var found = 0u;
  for (var shift = 28; shift >= 0; shift -= 4) {
    let unit = 1u << u32(shift);
    let bounds = found + unit * vec4u(0u, 1u, 2u, 3u);
    var first = vec4f();
    var second = vec4f();
    var third = vec4f();
    var fourth = vec4f();
    for (var v = t; v < VOCAB_SIZE; v += WORKGROUP_SIZE) {
      let z = scaled(row, logits[base + v]);
      let bits = vec4u(key(search, z));
      let own = vec4f(weight(search, z));
      first += select(vec4f(), own, bits >= bounds);
      second += select(vec4f(), own, bits >= bounds + 4u * unit);
      third += select(vec4f(), own, bits >= bounds + 8u * unit);
      fourth += select(vec4f(), own, bits >= bounds + 12u * unit);
    }
    var digits = 0u;
    digits += enough(group_sum(first, t), wanted);
    digits += enough(group_sum(second, t), wanted);
    digits += enough(group_sum(third, t), wanted);
    digits += enough(group_sum(fourth, t), wanted);
    // Sums fall as bounds rise. What has been found leaves enough, and is the first of these bounds, except for 0 at the start.
    found += unit * (max(digits, 1u) - 1u);
  }
  return found;
}

fn enough(sums: vec4f, wanted: f32) -> u32 {
  let are = select(vec4u(), vec4u(1u), sums >= vec4f(wanted));
  return are.x + are.y + are.z + are.w;
}

fn typical_range(row: SamplingRow, base: u32, range: vec2f, t: u32) -> vec2f {
  let all = total(row, base, Search(range, true, false, 0.0), t);
  let search = Search(range, true, true, range.y + all.y / all.x);
  let nearest = highest_bound(row, base, search, row.typical_p * all.x, t);
  var own = vec2f(HIGHEST, LOWEST);
  for (var v = t; v < VOCAB_SIZE; v += WORKGROUP_SIZE) {
    let z = scaled(row, logits[base + v]);
    if (z >= range.x && key(search, z) >= nearest) { own = vec2f(min(own.x, z), max(own.y, z)); }
  }
  let kept = vec2f(-group_max(-own.x, t), group_max(own.y, t));
  return select(range, kept, kept.x <= kept.y);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row_at = thread_index(group);
  if (row_at >= num_rows) { return; }
  let row = rows[row_at];
  let base = row_at * LOGITS_STRIDE;
  let by_count = row.top_k > 0u && row.top_k < VOCAB_SIZE;
  let by_typical = row.typical_p < 1.0;
  let by_mass = row.top_p < 1.0;
  if (row.inv_temperature == 0.0 || !(by_count || by_typical || by_mass || row.min_p > 0.0)) {
    if (t == 0u) { threshold[row_at] = vec2f(LOWEST, HIGHEST); }
    return;
  }
  var own_top = LOWEST;
  for (var v = t; v < VOCAB_SIZE; v += WORKGROUP_SIZE) { own_top = max(own_top, scaled(row, logits[base + v])); }
  var range = vec2f(LOWEST, group_max(own_top, t));
  if (by_count) {
    let bound = highest_bound(row, base, Search(range, false, false, 0.0), f32(row.top_k), t);
    range.x = from_order_bits(max(bound, order_bits(range.x)));
  }
  if (by_typical) { range = typical_range(row, base, range, t); }
  if (by_mass) {
    let search = Search(range, true, false, 0.0);
    let wanted = row.top_p * total(row, base, search, t).x;
    let bound = highest_bound(row, base, search, wanted, t);
    range.x = from_order_bits(min(max(bound, order_bits(range.x)), order_bits(range.y)));
  }
  // log(1) need not be 0 (WGSL: within 2⁻²¹), and the best token always stays.
  if (row.min_p > 0.0) { range.x = max(range.x, min(range.y, range.y + log(row.min_p))); }
  if (t == 0u) { threshold[row_at] = range; }
}
