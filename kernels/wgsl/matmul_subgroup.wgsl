// y[m, n] = Σk w[n, k] · x[m, k]
//   w vec4<weight_t> [NUM_OUTPUTS, NUM_INPUTS / 4]
//   x vec4f [numRows, NUM_INPUTS / 4]
//   y f32 [numRows, NUM_OUTPUTS]
// A workgroup makes OUTPUTS_PER_GROUP outputs of ROWS rows (a multiple of its subgroups, however large they are); a subgroup streams one output's weights, lane l the columns
// l, l + size, …, and one weight load feeds all rows. Grid x: groups of outputs; grid y: groups of ROWS rows.
// A row's sum never depends on ROWS: the same columns to the same lane, then one subgroupAdd. Reference: reference/matmul.ts
@group(0) @binding(0) var<storage, read> w: array<vec4<weight_t>>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<immediate> num_rows: u32;

const INPUTS = NUM_INPUTS / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) size: u32,
) {
  let first_row = group.y * ROWS;
  let subgroups = WORKGROUP_SIZE / size;
  for (var o = 0u; o < OUTPUTS_PER_GROUP; o += subgroups) {
    let n = group.x * OUTPUTS_PER_GROUP + o + thread / size;
    // Said explicitly: on NVIDIA's Vulkan driver (580) the array kept the values of the turn before.
    var acc: array<vec4f, ROWS>;
    for (var m = 0u; m < ROWS; m++) { acc[m] = vec4f(); }
    if (n < NUM_OUTPUTS) {
      for (var k = lane; k < INPUTS; k += size) {
        let weight = vec4f(w[n * INPUTS + k]);
        for (var m = 0u; m < ROWS; m++) {
          acc[m] = fma(weight, x[min(first_row + m, num_rows - 1u) * INPUTS + k], acc[m]);
        }
      }
    }
    for (var m = 0u; m < ROWS; m++) {
      let sum = subgroupAdd((acc[m].x + acc[m].y) + (acc[m].z + acc[m].w));
      if (lane == 0u && n < NUM_OUTPUTS && first_row + m < num_rows) {
        y[(first_row + m) * NUM_OUTPUTS + n] = sum;
      }
    }
  }
}
