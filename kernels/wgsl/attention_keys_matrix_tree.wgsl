// Keys and values for attention_matrix, with the tree in buffers of its own.
//   k_cache, v_cache  f16 [numPages, NUM_KV_HEADS, page_size, HEAD_DIM]
//   k_tree, v_tree    kv_quad [numBatches, NUM_KV_HEADS, rows_per_batch, HEAD_DIM / 4]
@group(0) @binding(1) var<storage, read> k_cache: array<f16>;
@group(0) @binding(2) var<storage, read> v_cache: array<f16>;
@group(0) @binding(8) var<storage, read> k_tree: array<vec4<f16>>;
@group(0) @binding(9) var<storage, read> v_tree: array<vec4<f16>>;

fn k_half(place: u32, d: u32) -> f16 {
  if (place >= IN_TREE) { return k_tree[place - IN_TREE + d / 4u][d % 4u]; }
  return k_cache[4u * place + d];
}

fn v_halves(place: u32, d: u32) -> vec4f {
  if (place >= IN_TREE) { return vec4f(v_tree[place - IN_TREE + d / 4u]); }
  let at = 4u * place + d;
  return vec4f(f32(v_cache[at]), f32(v_cache[at + 1u]), f32(v_cache[at + 2u]), f32(v_cache[at + 3u]));
}
