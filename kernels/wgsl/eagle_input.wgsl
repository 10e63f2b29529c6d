// The input of EAGLE's layer: x[row] = [table[tokenIds[row]], feature[row]], one after the other; of both halves NUM_COLUMNS columns from
// FIRST_COLUMN on
//   table     vec4<kv_t> [vocabSize, COLUMNS]
//   token_ids u32 [numRows]
//   sources   u32 [numRows]: slot of the row's feature in `own` if OWN is set in it, else in `target_features`
//   target_features  vec4<kv_t> [numSlots, STRIDE], from OFFSET on;  own  vec4<kv_t> [numSlots, OWN_STRIDE], from OWN_OFFSET on
//   x         the input of the next product, 2 · COLUMNS wide (activation_*.wgsl)
// One thread a vector of four of either half. Reference: reference/eagle.ts
@group(0) @binding(0) var<storage, read> table: array<vec4<kv_t>>;
@group(0) @binding(1) var<storage, read> token_ids: array<u32>;
@group(0) @binding(2) var<storage, read> sources: array<u32>;
@group(0) @binding(3) var<storage, read> target_features: array<vec4<kv_t>>;
@group(0) @binding(4) var<storage, read> own: array<vec4<kv_t>>;
@group(0) @binding(5) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * 2u * NUM_COLUMNS) { return; }
  let row = thread / (2u * NUM_COLUMNS);
  let at = thread % NUM_COLUMNS;
  if (thread % (2u * NUM_COLUMNS) < NUM_COLUMNS) {
    let column = FIRST_COLUMN + at;
    write_activation(row, column, vec4f(table[token_ids[row] * COLUMNS + column]));
    return;
  }
  let source = sources[row];
  let column = COLUMNS + FIRST_COLUMN + at;
  if (source >= OWN) { write_activation(row, column, vec4f(own[(source & ~OWN) * OWN_STRIDE + OWN_OFFSET + at])); }
  else { write_activation(row, column, vec4f(target_features[source * STRIDE + OFFSET + at])); }
}
