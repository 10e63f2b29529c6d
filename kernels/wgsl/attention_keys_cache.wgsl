// Keys and values that all lie in the cache.
//   k_cache, v_cache  kv_quad [numPages, page_size, NUM_KV_HEADS, HEAD_DIM / 4], or NUM_KV_HEADS before page_size
@group(0) @binding(1) var<storage, read> k_cache: array<kv_quad>;
@group(0) @binding(2) var<storage, read> v_cache: array<kv_quad>;

fn k_quad(at: u32) -> vec4f { return from_kv(k_cache[at]); }
fn v_quad(at: u32) -> vec4f { return from_kv(v_cache[at]); }
