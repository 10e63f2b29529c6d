// Rows of two tables side by side, word by word: out_a[i] = a[rows[i]], out_b[i] = b[rows[i]]
//   rows          u32 [num_out], indices of rows of both tables
//   a, out_a      words of any type [any, WIDTH_A] and [num_out, WIDTH_A]
//   b, out_b      the same, WIDTH_B wide
// One thread a word of either. Reference: reference/gather-rows.ts
@group(0) @binding(0) var<storage, read> rows: array<u32>;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> out_a: array<u32>;
@group(0) @binding(4) var<storage, read_write> out_b: array<u32>;
var<immediate> num_out: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  if (thread >= num_out * (WIDTH_A + WIDTH_B)) { return; }
  let i = thread / (WIDTH_A + WIDTH_B);
  let at = thread % (WIDTH_A + WIDTH_B);
  if (at < WIDTH_A) {
    out_a[i * WIDTH_A + at] = a[rows[i] * WIDTH_A + at];
  } else {
    out_b[i * WIDTH_B + at - WIDTH_A] = b[rows[i] * WIDTH_B + at - WIDTH_A];
  }
}
