// y[m, n] = Σk x[m, k] · w[k, n]
//   w vec4f [⌈outputs / PANEL⌉, 4 · inputs, PANEL]  (panels of 4 · PANEL outputs, so that a subgroup streams its weights)
//   x vec4f [numRows, inputs]
//   y vec4f [numRows, y_columns]; these weights are of its columns from first_column on
// One thread 4 outputs of one row, no barriers; grid y counts rows. Reference: reference/matmul.ts
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = id.x;
  if (n >= sizes.outputs) { return; }
  let m = sizes.first_row + id.y;
  let inputs = sizes.inputs;
  let base = first_weight(n);
  var acc = vec4f();
  for (var k = 0u; k < inputs; k++) {
    let at = base + k * 4u * PANEL;
    acc = multiply_add_4(x[m * inputs + k], w[at], w[at + PANEL], w[at + 2u * PANEL], w[at + 3u * PANEL], acc);
  }
  store(m, n, acc);
}
