// The levels that EAGLE-3 fuses, as the input of a product: x[row, FIRST_COLUMN …] = target_features[sources[row], OFFSET …],
// NUM_COLUMNS of them, and zeros where the row's feature is the drafter's own
//   sources  u32 [numRows]: a slot, or OWN is set in it
//   target_features  vec4<kv_t> [numSlots, STRIDE], STRIDE and OFFSET in vectors of four
//   x        the input of the next product, X_COLUMNS wide (activation_*.wgsl)
// One thread a vector of four. Reference: reference/eagle3.ts
@group(0) @binding(0) var<storage, read> sources: array<u32>;
@group(0) @binding(1) var<storage, read> target_features: array<vec4<kv_t>>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * NUM_COLUMNS) { return; }
  let row = thread / NUM_COLUMNS;
  let at = thread % NUM_COLUMNS;
  let column = FIRST_COLUMN + at;
  let source = sources[row];
  if (source >= OWN) { write_activation(row, column, vec4f()); }
  else { write_activation(row, column, vec4f(target_features[source * STRIDE + OFFSET + at])); }
}
