// Keys and values for attention_matrix: the cache as halves, as matrices load it; tree keys lie in the cache too.
//   k_cache, v_cache  f16 [numPages, page_size, NUM_KV_HEADS, HEAD_DIM], or NUM_KV_HEADS before page_size
@group(0) @binding(1) var<storage, read> k_cache: array<f16>;
@group(0) @binding(2) var<storage, read> v_cache: array<f16>;

fn k_half(place: u32, d: u32) -> f16 { return k_cache[4u * place + d]; }

fn v_halves(place: u32, d: u32) -> vec4f {
  let at = 4u * place + d;
  return vec4f(f32(v_cache[at]), f32(v_cache[at + 1u]), f32(v_cache[at + 2u]), f32(v_cache[at + 3u]));
}
