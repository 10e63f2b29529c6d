// Features as inputs of a product: x[i, FIRST_COLUMN …] = features[slots[rows[i]], OFFSET …], NUM_COLUMNS of them
//   features  vec4<kv_t> [numSlots, STRIDE], STRIDE and OFFSET in vectors of four
//   slots     u32 [any];  rows  u32 [numOut], indices of slots
//   x         the input of the next product, X_COLUMNS wide (activation_*.wgsl)
// One thread a vector of four. Reference: reference/features.ts
@group(0) @binding(0) var<storage, read> features: array<vec4<kv_t>>;
@group(0) @binding(1) var<storage, read> slots: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_out: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_out * NUM_COLUMNS) { return; }
  let i = thread / NUM_COLUMNS;
  let at = thread % NUM_COLUMNS;
  write_activation(i, FIRST_COLUMN + at, vec4f(features[slots[rows[i]] * STRIDE + OFFSET + at]));
}
