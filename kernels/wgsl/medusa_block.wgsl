// One residual block of a Medusa head: y[row] = x[row] + silu(W x[row] + bias) (silu.wgsl)
//   parts  the product W x [numRows, 4 · COLUMNS] (product_sum.wgsl)
//   bias   vec4f [COLUMNS]
// in NUM_COLUMNS columns from FIRST_COLUMN on
//   slots  u32 [numRows];  features  vec4<kv_t> [numSlots, STRIDE]: x of the head's first block, from OFFSET on
//   state  vec4f [numRows, COLUMNS]: x of its other blocks (FIRST = 0), and y
//   x      y as the input of the next product; its rows begin at HEAD · num_rows (activation_*.wgsl)
// One thread a vector of four. Reference: reference/medusa-block.ts
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read> bias: array<vec4f>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> features: array<vec4<kv_t>>;
@group(0) @binding(4) var<storage, read_write> state: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * NUM_COLUMNS) { return; }
  let row = thread / NUM_COLUMNS;
  let at = thread % NUM_COLUMNS;
  let column = FIRST_COLUMN + at;
  let v = product_sum(row, column) + bias[column];
  var before = vec4f(features[slots[row] * STRIDE + OFFSET + at]);
  if (FIRST == 0) { before = state[row * COLUMNS + column]; }
  let after = before + silu(v);
  state[row * COLUMNS + column] = after;
  write_activation(HEAD * num_rows + row, column, after);
}
