// x = silu(g) · u of a product [numRows, 2 · SIZE] (gated.wgsl)
//   parts  the product (product_sum.wgsl);  x  the input of the next product (activation_*.wgsl)
// One thread an output vec4. Reference: reference/silu-mul.ts
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * GATE_COLUMNS) { return; }
  let row = thread / GATE_COLUMNS;
  let column = thread % GATE_COLUMNS;
  write_activation(row, column, gated(row, column));
}
