// What every attention kernel knows of its rows. A row's keys, by position 0, 1, …: first `linear length` of them through the
// row's table of pages, then those of its tree path through its list of tree keys, ascending.
//   row_info  vec4u [numRows, INFO_HEADS]   (table offset, last position, linear length, list offset): offsets into `tables`;
//             last position 0xffffffff says that there is no key. INFO_HEADS is 1, or ROW_HEADS where heads have lists of their own
//   tables    u32   page tables; lists of tree keys t (own path, ascending), each followed by its biases (f32 bits) if HAS_BIAS
// A tree key t lies in the cache at index `linear length` + t of the row's table, or, if TREE_BUFFERS, in buffers of its own:
//   k_tree, v_tree  [numRows / rows_per_batch, NUM_KV_HEADS, rows_per_batch, HEAD_DIM]
// A dispatch does rows first_row … first_row + num_rows − 1 of a pass and one shard of its heads: NUM_HEADS of ROW_HEADS, which share the
// NUM_KV_HEADS whose keys and values are bound. Elsewhere heads are counted among all ROW_HEADS, KV heads among those of the shard.
// Rows with lists that share a table are rows of one tree: they have one linear length, and equal tree keys have equal ancestors.
// A row is computed in parts, splits of split_size positions, each from a fresh state, folded in ascending order. Parts depend on
// the row's keys alone.
@group(0) @binding(3) var<storage, read> row_info: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
struct Params {
  num_rows: u32, num_splits: u32, rows_per_batch: u32, page_size: u32, split_size: u32, scale: f32, first_row: u32, shard: u32,
}
var<immediate> params: Params;

const QUADS = HEAD_DIM / 4u;
/** Lowest f32: below or equal to any score. */
const NO_SCORE = -3.4028234663852886e38;
/** Set in the place of a key that lies in the tree's own buffers. */
const IN_TREE = 0x80000000u;

/** Head `head` of the shard among all heads of a row. */
fn row_head(head: u32) -> u32 { return params.shard * NUM_HEADS + head; }

fn info_of(row: u32, head: u32) -> vec4u {
  return row_info[row * INFO_HEADS + head % INFO_HEADS];
}

fn num_keys(info: vec4u) -> u32 { return info.y + 1u; }

/** Keys that are computed in splits: all, but for trees that the matrix kernel adds to a row's last split. */
fn split_keys(info: vec4u) -> u32 {
  if (MATRIX == 1 && TREE_BUFFERS == 1) { return min(info.z, num_keys(info)); }
  return num_keys(info);
}

fn num_parts(info: vec4u) -> u32 {
  if (num_keys(info) == 0u) { return 0u; }
  return max(1u, (split_keys(info) + params.split_size - 1u) / params.split_size);
}

/** Place of a row's head in queries and results [numBatches, heads, rows_per_batch]. */
fn io_index(row: u32, head: u32, heads: u32) -> u32 {
  if (params.rows_per_batch == 1u) { return row * heads + head; }
  return (row / params.rows_per_batch * heads + head) * params.rows_per_batch + row % params.rows_per_batch;
}

/** Place of a page in its table and of a key in its page. Dividing takes a GPU twenty times as long as shifting. */
fn split_index(index: u32) -> vec2u {
  if (countOneBits(params.page_size) == 1u) {
    return vec2u(index >> countTrailingZeros(params.page_size), index & (params.page_size - 1u));
  }
  return vec2u(index / params.page_size, index % params.page_size);
}

/** First quad of the key at `index` of a table. Pages are [NUM_KV_HEADS, page_size] if HEAD_MAJOR, else [page_size, NUM_KV_HEADS]. */
fn cache_quad(table: u32, index: u32, kv_head: u32) -> u32 {
  let in_table = split_index(index);
  let page = tables[table + in_table.x];
  let offset = in_table.y;
  if (HEAD_MAJOR == 1) { return ((page * NUM_KV_HEADS + kv_head) * params.page_size + offset) * QUADS; }
  return ((page * params.page_size + offset) * NUM_KV_HEADS + kv_head) * QUADS;
}

/** First quad of a tree key of `row`. */
fn tree_quad(row: u32, table: u32, linear: u32, tree_key: u32, kv_head: u32) -> u32 {
  if (TREE_BUFFERS == 0) { return cache_quad(table, linear + tree_key, kv_head); }
  let batch = row / params.rows_per_batch;
  return (((batch * NUM_KV_HEADS + kv_head) * params.rows_per_batch + tree_key) * QUADS) | IN_TREE;
}

/** First quad of the key at `position` of a row. */
fn key_quad(row: u32, info: vec4u, position: u32, kv_head: u32) -> u32 {
  if (position < info.z) { return cache_quad(info.x, position, kv_head); }
  return tree_quad(row, info.x, info.z, tables[info.w + position - info.z], kv_head);
}

/** What is added to the scaled score at `position`. */
fn bias_at(info: vec4u, position: u32) -> f32 {
  if (HAS_BIAS == 0 || position < info.z) { return 0.0; }
  return bitcast<f32>(tables[info.w + num_keys(info) - info.z + position - info.z]);
}

/** A row without keys gives zeros. */
fn finish(sum: vec4f, total: f32) -> vec4f {
  return select(vec4f(), sum / total, total > 0.0);
}
