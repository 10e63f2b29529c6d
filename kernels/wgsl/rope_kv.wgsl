// Rotates Q and K of a product, and writes Q for attention, K and plain V to the paged cache (rotary "halves": dimension i pairs
// with i + D/2).
//   parts     the product [numRows, NUM_HEADS + 2 · NUM_KV_HEADS heads in the order Q, K, V, HEAD_DIM] (product_sum.wgsl)
//   q         vec4f [numRows, NUM_HEADS, HEAD_DIM / 4]
//   rope      vec4f [maxPositions, 2, HEAD_DIM / 8]   cosines, then sines of each position, computed in f64 on the host
//   row_info  vec4u [numRows]   (table offset, position, linear length, list offset)
//   slots     u32 [numRows]   where the row's K and V go
//   k_cache, v_cache  vec4<kv_t> [numSlots, NUM_KV_HEADS, HEAD_DIM / 4]
// One thread 4 pairs of one head. Reference: reference/rope.ts
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read> rope: array<vec4f>;
@group(0) @binding(2) var<storage, read> row_info: array<vec4u>;
@group(0) @binding(3) var<storage, read> slots: array<u32>;
@group(0) @binding(4) var<storage, read_write> k_cache: array<vec4<kv_t>>;
@group(0) @binding(5) var<storage, read_write> v_cache: array<vec4<kv_t>>;
@group(0) @binding(6) var<storage, read_write> q: array<vec4f>;
var<immediate> num_rows: u32;

const QUADS = HEAD_DIM / 8u;
const ALL_HEADS = NUM_HEADS + 2u * NUM_KV_HEADS;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let quad = thread % QUADS;
  let head = (thread / QUADS) % ALL_HEADS;
  let row = thread / (QUADS * ALL_HEADS);
  if (row >= num_rows) { return; }
  let column = head * 2u * QUADS + quad;
  var low = product_sum(row, column);
  var high = product_sum(row, column + QUADS);
  if (head < NUM_HEADS + NUM_KV_HEADS) {
    let angle = row_info[row].y * 2u * QUADS + quad;
    let c = rope[angle];
    let s = rope[angle + QUADS];
    let rotated = low * c - high * s;
    high = high * c + low * s;
    low = rotated;
  }
  if (head < NUM_HEADS) {
    let to = (row * NUM_HEADS + head) * 2u * QUADS + quad;
    q[to] = low;
    q[to + QUADS] = high;
  } else if (head < NUM_HEADS + NUM_KV_HEADS) {
    let to = (slots[row] * NUM_KV_HEADS + head - NUM_HEADS) * 2u * QUADS + quad;
    k_cache[to] = vec4<kv_t>(low);
    k_cache[to + QUADS] = vec4<kv_t>(high);
  } else {
    let to = (slots[row] * NUM_KV_HEADS + head - NUM_HEADS - NUM_KV_HEADS) * 2u * QUADS + quad;
    v_cache[to] = vec4<kv_t>(low);
    v_cache[to + QUADS] = vec4<kv_t>(high);
  }
}
