// What portable products read and write: see matmul_rows1.
@group(0) @binding(0) var<storage, read> w: array<vec4f>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

fn store(m: u32, n: u32, acc: vec4f) {
  if (m >= sizes.num_rows || n >= sizes.outputs) { return; }
  y[m * sizes.y_columns + sizes.first_column + n] = acc;
}
