// Where features go, of those columns that the buffer has. Values that f16 cannot hold become its largest.
fn write_feature(slot: u32, column: u32, value: vec4f) {
  features[slot * STRIDE + OFFSET + column - FIRST_COLUMN] = vec4<kv_t>(clamp(value, vec4f(-LARGEST), vec4f(LARGEST)));
}
