// Rows of a product as Q, K and V, of which Q and K are rotated (rotary "halves": dimension i pairs with i + D/2).
// A dispatch does SHARD of NUM_SHARDS shards of the heads: NUM_HEADS of Q, and the NUM_KV_HEADS of K and V that are bound.
//   parts     the product [numRows, NUM_SHARDS · (NUM_HEADS + 2 · NUM_KV_HEADS) heads: all of Q, of K, of V, HEAD_DIM] (product_sum.wgsl)
//   rope      vec4f [maxPositions, 2, HEAD_DIM / 8]   cosines, then sines of each position, computed in f64 on the host
//   row_info  vec4u [numRows]   (table offset, position, linear length, list offset)
//   slots     u32 [numRows]   where the row's K and V go
//   q         vec4f [numRows, NUM_SHARDS · NUM_HEADS, HEAD_DIM / 4]
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read> rope: array<vec4f>;
@group(0) @binding(2) var<storage, read> row_info: array<vec4u>;
@group(0) @binding(3) var<storage, read> slots: array<u32>;
@group(0) @binding(6) var<storage, read_write> q: array<vec4f>;
var<immediate> num_rows: u32;

const QUADS = HEAD_DIM / 8u;
/** Of a shard, in the order Q, K, V. */
const ALL_HEADS = NUM_HEADS + 2u * NUM_KV_HEADS;

/** What a thread has: 4 pairs of one of the shard's heads of a row. */
struct Place { row: u32, head: u32, quad: u32 }

fn place_of(id: vec3u) -> Place {
  let thread = thread_index(id);
  return Place(thread / (QUADS * ALL_HEADS), (thread / QUADS) % ALL_HEADS, thread % QUADS);
}

/** Which head of the product it is. */
fn product_head(head: u32) -> u32 {
  if (head < NUM_HEADS) { return u32(SHARD) * NUM_HEADS + head; }
  let first = NUM_SHARDS * NUM_HEADS + u32(SHARD) * NUM_KV_HEADS;
  if (head < NUM_HEADS + NUM_KV_HEADS) { return first + head - NUM_HEADS; }
  return first + NUM_SHARDS * NUM_KV_HEADS + head - NUM_HEADS - NUM_KV_HEADS;
}

/** Dimensions 4 · quad … 4 · quad + 3 of either half of a head. */
struct Pairs { low: vec4f, high: vec4f }

fn pairs_of(row: u32, head: u32, quad: u32) -> Pairs {
  let column = product_head(head) * 2u * QUADS + quad;
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
  return Pairs(low, high);
}

fn write_q(row: u32, head: u32, quad: u32, pairs: Pairs) {
  let to = (row * NUM_SHARDS * NUM_HEADS + product_head(head)) * 2u * QUADS + quad;
  q[to] = pairs.low;
  q[to + QUADS] = pairs.high;
}
