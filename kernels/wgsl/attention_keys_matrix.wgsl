// Keys and values for attention_matrix: halves, eight to a vector; tree keys lie in the cache too.
//   k_cache, v_cache  vec4u [numPages, page_size, NUM_KV_HEADS, HEAD_DIM / 8], or NUM_KV_HEADS before page_size
// A place is the first quad of a key (attention_rows); 16 keys from a place on lie one after another.
@group(0) @binding(1) var<storage, read> k_cache: array<vec4u>;
@group(0) @binding(2) var<storage, read> v_cache: array<vec4u>;

/** The place of no key: there are zeros. */
const NO_KEY = 0xffffffffu;

fn k_vector(place: u32, vector: u32) -> vec4u {
  if (place == NO_KEY) { return vec4u(); }
  return k_cache[place / 2u + vector];
}

fn v_vector(place: u32, vector: u32) -> vec4u {
  if (place == NO_KEY) { return vec4u(); }
  return v_cache[place / 2u + vector];
}

/** Dimensions 16 · block … of 16 keys, a column each. */
fn k_matrix(place: u32, block: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&k_cache, place / 2u + 2u * block, KEY_STRIDE);
}
