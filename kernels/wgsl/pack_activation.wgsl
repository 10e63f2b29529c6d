// x = rows: what a kernel left as rows becomes the input of a product (activation_tiles.wgsl).
//   rows  vec4f [numRows, X_COLUMNS]
// One thread a vec4. Reference: the rows themselves
@group(0) @binding(0) var<storage, read> rows: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * X_COLUMNS) { return; }
  write_activation(thread / X_COLUMNS, thread % X_COLUMNS, rows[thread]);
}
