// As attention_keys_cache.wgsl, with keys and values in 8 bits (rope_kv_q8.wgsl).
//   k_cache, v_cache  u32 [numPages, page_size, NUM_KV_HEADS, 1 + HEAD_DIM / 4]   the scale's bits, then the integers, four a word
@group(0) @binding(1) var<storage, read> k_cache: array<u32>;
@group(0) @binding(2) var<storage, read> v_cache: array<u32>;

const HEAD_WORDS = 1u + QUADS;

fn k_quad(at: u32) -> vec4f {
  let head = at / QUADS * HEAD_WORDS;
  return vec4f(unpack4xI8(k_cache[head + 1u + at % QUADS])) * bitcast<f32>(k_cache[head]);
}

fn v_quad(at: u32) -> vec4f {
  let head = at / QUADS * HEAD_WORDS;
  return vec4f(unpack4xI8(v_cache[head + 1u + at % QUADS])) * bitcast<f32>(v_cache[head]);
}
