// hidden[row] = table[tokenIds[row] − FIRST_TOKEN], for rows whose token the table has
//   table     vec4<weight_t> [NUM_TOKENS, HIDDEN_SIZE / 4]: tokens from FIRST_TOKEN on
//   token_ids u32 [numRows]
//   hidden    vec4f [numRows, HIDDEN_SIZE / 4]
// One thread an output vec4. Reference: reference/embedding.ts
@group(0) @binding(0) var<storage, read> table: array<vec4<weight_t>>;
@group(0) @binding(1) var<storage, read> token_ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4f>;
var<immediate> num_rows: u32;

const COLUMNS = HIDDEN_SIZE / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * COLUMNS) { return; }
  // What lies before the first one wraps around to a large number.
  let token = token_ids[thread / COLUMNS] - FIRST_TOKEN;
  if (token >= NUM_TOKENS) { return; }
  hidden[thread] = vec4f(table[token * COLUMNS + thread % COLUMNS]);
}
