// Features of an EAGLE-3 drafter's own that one of several buffers has: hidden[row, FIRST_COLUMN …] = own[source of row, OFFSET …],
// NUM_COLUMNS of them, where OWN is set in the source; other rows stay as they are
//   sources  u32 [numRows];  own  vec4<kv_t> [numSlots, STRIDE];  hidden  vec4f [numRows, COLUMNS]
// One thread a vector of four. Reference: reference/eagle3.ts
@group(0) @binding(0) var<storage, read> sources: array<u32>;
@group(0) @binding(1) var<storage, read> own: array<vec4<kv_t>>;
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4f>;
var<immediate> num_rows: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * NUM_COLUMNS) { return; }
  let row = thread / NUM_COLUMNS;
  let at = thread % NUM_COLUMNS;
  let source = sources[row];
  if (source >= OWN) { hidden[row * COLUMNS + FIRST_COLUMN + at] = vec4f(own[(source & ~OWN) * STRIDE + OFFSET + at]); }
}
