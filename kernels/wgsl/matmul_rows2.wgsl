// As matmul_rows1, but a thread has 4 outputs of 2 rows; grid y counts groups of 2 rows.
// Lane c of a subgroup loads row c's inputs and broadcasts them: on software adapters a load costs more than a multiply.
// The grid covers the outputs exactly or overhangs: no thread may leave before the last broadcast.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let m = sizes.first_row + id.y * 2u;
  let n = min(id.x, sizes.outputs - 1u);
  let inputs = sizes.inputs;
  let base = first_weight(n);
  let x_row = min(m + min(lane, 1u), sizes.num_rows - 1u) * inputs;
  var acc0 = vec4f();
  var acc1 = vec4f();
  for (var k = 0u; k < inputs; k++) {
    let at = base + k * 4u * PANEL;
    let w0 = w[at];
    let w1 = w[at + PANEL];
    let w2 = w[at + 2u * PANEL];
    let w3 = w[at + 3u * PANEL];
    let rows = x[x_row + k];
    acc0 = multiply_add_4(subgroupBroadcast(rows, 0u), w0, w1, w2, w3, acc0);
    acc1 = multiply_add_4(subgroupBroadcast(rows, 1u), w0, w1, w2, w3, acc1);
  }
  store(m, id.x, acc0);
  store(m + 1u, id.x, acc1);
}
