// The result of attention as rows: out io_quad [numBatches, ROW_HEADS, rows_per_batch, HEAD_DIM / 4].
@group(0) @binding(0) var<storage, read_write> out: array<io_quad>;

fn write_out(row: u32, head: u32, quad: u32, value: vec4f) {
  out[io_index(row, head, ROW_HEADS) * QUADS + quad] = to_io(value);
}
