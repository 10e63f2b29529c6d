// As matmul_rows1, but a thread has 4 outputs of ROWS rows: 2, 3, 4 or 8; grid y counts groups of as many rows.
// Lane c of a subgroup loads the inputs of rows c and c + 4 and broadcasts them: on software adapters a load costs more than a multiply.
// Rows past ROWS are constant conditions, which compilers drop: an array of sums would not be kept in registers.
// The grid covers the outputs exactly or overhangs: no thread may leave before the last broadcast.
const LAST_LOW = min(ROWS - 1u, 3u);

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let m = sizes.first_row + id.y * ROWS;
  let n = min(id.x, sizes.outputs - 1u);
  let inputs = sizes.inputs;
  let base = first_weight(n);
  let low_row = min(m + min(lane, LAST_LOW), sizes.num_rows - 1u) * inputs;
  let high_row = min(m + 4u + min(lane, 3u), sizes.num_rows - 1u) * inputs;
  var acc0 = vec4f();
  var acc1 = vec4f();
  var acc2 = vec4f();
  var acc3 = vec4f();
  var acc4 = vec4f();
  var acc5 = vec4f();
  var acc6 = vec4f();
  var acc7 = vec4f();
  for (var k = 0u; k < inputs; k++) {
    let at = base + k * 4u * PANEL;
    let w0 = w[at];
    let w1 = w[at + PANEL];
    let w2 = w[at + 2u * PANEL];
    let w3 = w[at + 3u * PANEL];
    let low = x[low_row + k];
    acc0 = multiply_add_4(subgroupBroadcast(low, 0u), w0, w1, w2, w3, acc0);
    acc1 = multiply_add_4(subgroupBroadcast(low, 1u), w0, w1, w2, w3, acc1);
    if (ROWS > 2u) { acc2 = multiply_add_4(subgroupBroadcast(low, 2u), w0, w1, w2, w3, acc2); }
    if (ROWS > 3u) { acc3 = multiply_add_4(subgroupBroadcast(low, 3u), w0, w1, w2, w3, acc3); }
    if (ROWS > 4u) {
      let high = x[high_row + k];
      acc4 = multiply_add_4(subgroupBroadcast(high, 0u), w0, w1, w2, w3, acc4);
      acc5 = multiply_add_4(subgroupBroadcast(high, 1u), w0, w1, w2, w3, acc5);
      acc6 = multiply_add_4(subgroupBroadcast(high, 2u), w0, w1, w2, w3, acc6);
      acc7 = multiply_add_4(subgroupBroadcast(high, 3u), w0, w1, w2, w3, acc7);
    }
  }
  store(m, id.x, acc0);
  store(m + 1u, id.x, acc1);
  if (ROWS > 2u) { store(m + 2u, id.x, acc2); }
  if (ROWS > 3u) { store(m + 3u, id.x, acc3); }
  if (ROWS > 4u) {
    store(m + 4u, id.x, acc4);
    store(m + 5u, id.x, acc5);
    store(m + 6u, id.x, acc6);
    store(m + 7u, id.x, acc7);
  }
}
