// The sum of a workgroup's values, for all of its threads: added as a binary tree. To be called once: no barrier
// keeps a second call from writing before all threads have read.
var<workgroup> group_values: array<f32, WORKGROUP_SIZE>;

fn group_sum(own: f32, t: u32) -> f32 {
  group_values[t] = own;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    if (t < half) { group_values[t] += group_values[t + half]; }
    workgroupBarrier();
  }
  return group_values[0];
}
