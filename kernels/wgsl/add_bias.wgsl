// A product with a bias as residual stream and as the input of the next product: hidden[row] = x[row] = product[row] + bias
//   parts   the product [numRows, 4 · COLUMNS] (product_sum.wgsl)
//   bias    vec4f [COLUMNS]
//   hidden  vec4f [numRows, COLUMNS];  x as in activation_*.wgsl
// One thread a vector of four. Reference: reference/eagle.ts
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read> bias: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * COLUMNS) { return; }
  let row = thread / COLUMNS;
  let column = thread % COLUMNS;
  let value = product_sum(row, column) + bias[column];
  hidden[thread] = value;
  write_activation(row, column, value);
}
