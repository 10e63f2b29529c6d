// As attention_keys_matrix, with the tree in buffers of its own.
//   k_cache, v_cache  vec4u [numPages, NUM_KV_HEADS, page_size, HEAD_DIM / 8]
//   k_tree, v_tree    vec4u [numBatches, NUM_KV_HEADS, rows_per_batch, HEAD_DIM / 8]
@group(0) @binding(1) var<storage, read> k_cache: array<vec4u>;
@group(0) @binding(2) var<storage, read> v_cache: array<vec4u>;
@group(0) @binding(8) var<storage, read> k_tree: array<vec4u>;
@group(0) @binding(9) var<storage, read> v_tree: array<vec4u>;

/** The place of no key: there are zeros. */
const NO_KEY = 0xffffffffu;

fn k_vector(place: u32, vector: u32) -> vec4u {
  if (place == NO_KEY) { return vec4u(); }
  if (place >= IN_TREE) { return k_tree[(place - IN_TREE) / 2u + vector]; }
  return k_cache[place / 2u + vector];
}

fn v_vector(place: u32, vector: u32) -> vec4u {
  if (place == NO_KEY) { return vec4u(); }
  if (place >= IN_TREE) { return v_tree[(place - IN_TREE) / 2u + vector]; }
  return v_cache[place / 2u + vector];
}

fn k_matrix(place: u32, block: u32) -> Right {
  let at = (place & ~IN_TREE) / 2u + 2u * block;
  var keys = Right();
  if (place >= IN_TREE) {
    keys = subgroupMatrixLoad<Right, col_major>(&k_tree, at, KEY_STRIDE);
  } else {
    keys = subgroupMatrixLoad<Right, col_major>(&k_cache, at, KEY_STRIDE);
  }
  return keys;
}
