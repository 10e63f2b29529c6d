// 4-bit weights w = d · q + m, rounded once to f32. A chunk is the 16 bytes that a lane loads at once: a block.
//   values  u4 [NUM_OUTPUTS, CHUNKS, 32]; of eight neighbours in a word, the low halves of its bytes are the first four
//   scales  f16 [NUM_OUTPUTS, CHUNKS, (d, m)]
@group(0) @binding(0) var<storage, read> values: array<vec4u>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
const QUADS = 8u;
struct Chunk { quants: vec4u, scale: vec2f }

fn fetch(output: u32, chunk: u32) -> Chunk {
  let at = output * CHUNKS + chunk;
  return Chunk(values[at], unpack2x16float(scales[at]));
}

fn quad(chunk: Chunk, q: u32) -> vec4f {
  let nibbles = (chunk.quants[q / 2u] >> (4u * (q % 2u))) & 0x0f0f0f0fu;
  return fma(vec4f(unpack4xU8(nibbles)), vec4f(chunk.scale.x), vec4f(chunk.scale.y));
}
