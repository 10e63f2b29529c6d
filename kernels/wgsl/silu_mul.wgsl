// x[m, i] = silu(g) · u of a product [numRows, 2 · SIZE]: g = product[m, i], u = product[m, SIZE + i], silu(g) = g / (1 + exp(−g))
//   parts  the product (product_sum.wgsl);  x  the input of the next product (activation_*.wgsl)
// One thread an output vec4. Reference: reference/silu-mul.ts
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

const COLUMNS = SIZE / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * COLUMNS) { return; }
  let row = thread / COLUMNS;
  let column = thread % COLUMNS;
  let gate = product_sum(row, column);
  write_activation(row, column, gate / (1.0 + exp(-gate)) * product_sum(row, column + COLUMNS));
}
