// The result of attention as the input of a product [numRows, ROW_HEADS · HEAD_DIM] (activation_*.wgsl).
@group(0) @binding(0) var<storage, read_write> x: array<vec4<x_t>>;

fn write_out(row: u32, head: u32, quad: u32, value: vec4f) { write_activation(row, head * QUADS + quad, value); }
