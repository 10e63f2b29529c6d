// Keys and values of the cache, and those of the tree in buffers of their own.
//   k_cache, v_cache  kv_quad [numPages, NUM_KV_HEADS, page_size, HEAD_DIM / 4]
//   k_tree, v_tree    kv_quad [numBatches, NUM_KV_HEADS, rows_per_batch, HEAD_DIM / 4]
@group(0) @binding(1) var<storage, read> k_cache: array<kv_quad>;
@group(0) @binding(2) var<storage, read> v_cache: array<kv_quad>;
@group(0) @binding(8) var<storage, read> k_tree: array<kv_quad>;
@group(0) @binding(9) var<storage, read> v_tree: array<kv_quad>;

fn k_quad(at: u32) -> vec4f {
  if (at >= IN_TREE) { return from_kv(k_tree[at - IN_TREE]); }
  return from_kv(k_cache[at]);
}

fn v_quad(at: u32) -> vec4f {
  if (at >= IN_TREE) { return from_kv(v_tree[at - IN_TREE]); }
  return from_kv(v_cache[at]);
}
