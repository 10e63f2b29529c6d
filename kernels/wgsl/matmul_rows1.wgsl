// y[m, n] = Σk x[m, k] · w[k, n]
//   w vec4f [⌈NUM_OUTPUTS / 4 / PANEL⌉, NUM_INPUTS, PANEL]  (panels of 4 · PANEL outputs, so that a subgroup streams its weights)
//   x vec4f [numRows, NUM_INPUTS / 4]
//   y vec4f [numRows, Y_OUTPUTS / 4]; these weights are of its columns from FIRST_OUTPUT on
// One thread 4 outputs of one row, no barriers; grid y is the row. Reference: reference/matmul.ts
@group(0) @binding(0) var<storage, read> w: array<vec4f>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
var<immediate> num_rows: u32;

const INPUTS = NUM_INPUTS / 4u;
const OUTPUTS = NUM_OUTPUTS / 4u;
const Y_COLUMNS = Y_OUTPUTS / 4u;
const FIRST_COLUMN = FIRST_OUTPUT / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = id.x;
  if (n >= OUTPUTS) { return; }
  let base = (n / PANEL) * NUM_INPUTS * PANEL + n % PANEL;
  var acc = vec4f();
  for (var k = 0u; k < INPUTS; k++) {
    let at = base + k * 4u * PANEL;
    acc = multiply_add_4(x[id.y * INPUTS + k], w[at], w[at + PANEL], w[at + 2u * PANEL], w[at + 3u * PANEL], acc);
  }
  y[id.y * Y_COLUMNS + FIRST_COLUMN + n] = acc;
}
