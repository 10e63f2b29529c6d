// y[m, n] = Σk w[n, k] · x[m, k]
//   weights  as weights_*_rows.wgsl has them, whatever their format: `fetch` a chunk of 4 · QUADS inputs, take its `quad`s
//   x        vec4f [numRows, NUM_INPUTS / 4]
//   y        vec4f [numRows, Y_OUTPUTS / 4]; these weights are of its columns from FIRST_OUTPUT on
// A workgroup makes 4 · QUADS_PER_GROUP outputs of ROWS rows, however large its subgroups are. A subgroup streams four outputs'
// weights at a time, lane l the chunks l, l + size, …: four loads are on their way together, a weight is dequantised once for all
// rows, and inputs are loaded once for four outputs. Grid x: groups of outputs; grid y: groups of ROWS rows.
// A row's sum never depends on ROWS: the same chunks to the same lane, their inputs in ascending order (matmul_step.wgsl), then
// one subgroupAdd. Inputs past the last one meet weights of zero. Reference: reference/matmul.ts
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
var<immediate> num_rows: u32;

const INPUTS = NUM_INPUTS / 4u;
const OUTPUTS = NUM_OUTPUTS / 4u;
const Y_COLUMNS = Y_OUTPUTS / 4u;
const FIRST_COLUMN = FIRST_OUTPUT / 4u;
const CHUNKS = (INPUTS + QUADS - 1u) / QUADS;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) size: u32,
) {
  let first_row = group.y * ROWS;
  for (var turn = 0u; turn < QUADS_PER_GROUP; turn += WORKGROUP_SIZE / size) {
    let place = turn + thread / size;
    let n = group.x * QUADS_PER_GROUP + place;
    let is_output = place < QUADS_PER_GROUP && n < OUTPUTS;
    // Said explicitly: on NVIDIA's Vulkan driver (580) the array kept the values of the turn before.
    var acc: array<vec4f, ROWS>;
    for (var m = 0u; m < ROWS; m++) { acc[m] = vec4f(); }
    if (is_output) {
      for (var chunk = lane; chunk < CHUNKS; chunk += size) {
        let a = fetch(4u * n, chunk);
        let b = fetch(4u * n + 1u, chunk);
        let c = fetch(4u * n + 2u, chunk);
        let d = fetch(4u * n + 3u, chunk);
        for (var q = 0u; q < QUADS; q++) {
          let k = min(chunk * QUADS + q, INPUTS - 1u);
          let w = transpose(mat4x4f(quad(a, q), quad(b, q), quad(c, q), quad(d, q)));
          for (var m = 0u; m < ROWS; m++) {
            let inputs = x[min(first_row + m, num_rows - 1u) * INPUTS + k];
            acc[m] = multiply_add_4(inputs, w[0], w[1], w[2], w[3], acc[m]);
          }
        }
      }
    }
    for (var m = 0u; m < ROWS; m++) {
      let sum = subgroupAdd(acc[m]);
      if (lane == 0u && is_output && first_row + m < num_rows) { y[(first_row + m) * Y_COLUMNS + FIRST_COLUMN + n] = sum; }
    }
  }
}
