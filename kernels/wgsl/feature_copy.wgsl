// Keeps NUM_COLUMNS columns of the residual stream, from FIRST_COLUMN on, as features:
//   features[slots[row], OFFSET …] = hidden[row, FIRST_COLUMN …] + product[row, FIRST_COLUMN …]
//   hidden    vec4f [numRows, COLUMNS], COLUMNS = HIDDEN_SIZE / 4; only read
//   parts     the product that is yet to be added (product_sum.wgsl)
//   slots     u32 [numRows]
//   features  vec4<kv_t> [numSlots, STRIDE], STRIDE and OFFSET in vectors of four (feature_write.wgsl)
// One thread a vector of four. Reference: reference/features.ts
@group(0) @binding(0) var<storage, read> hidden: array<vec4f>;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read_write> features: array<vec4<kv_t>>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * NUM_COLUMNS) { return; }
  let row = thread / NUM_COLUMNS;
  let column = FIRST_COLUMN + thread % NUM_COLUMNS;
  write_feature(slots[row], column, hidden[row * COLUMNS + column] + product_sum(row, column));
}
