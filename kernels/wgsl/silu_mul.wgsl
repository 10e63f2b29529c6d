// out[m, i] = silu(g) · u,  g = gate_up[m, i],  u = gate_up[m, SIZE + i],  silu(g) = g / (1 + exp(−g))
//   gate_up vec4f [numRows, 2 · SIZE / 4];  out vec4f [numRows, SIZE / 4]
// One thread an output vec4. Reference: reference/silu-mul.ts
@group(0) @binding(0) var<storage, read> gate_up: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4f>;
var<immediate> num_rows: u32;

const COLUMNS = SIZE / 4u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_rows * COLUMNS) { return; }
  let at = (thread / COLUMNS) * 2u * COLUMNS + thread % COLUMNS;
  let gate = gate_up[at];
  out[thread] = gate / (1.0 + exp(-gate)) * gate_up[at + COLUMNS];
}
