// 8-bit weights w = d · q, exact in f32. A chunk is the 16 bytes that a lane loads at once: half a block.
//   values  i8 [NUM_OUTPUTS, CHUNKS, 16]
//   scales  f16 [NUM_OUTPUTS, CHUNKS / 2], d of 32 inputs, two a word
@group(0) @binding(0) var<storage, read> values: array<vec4u>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
const QUADS = 4u;
struct Chunk { quants: vec4u, scale: f32 }

fn fetch(output: u32, chunk: u32) -> Chunk {
  let at = output * CHUNKS + chunk;
  let pair = unpack2x16float(scales[at / 4u]);
  return Chunk(values[at], select(pair.x, pair.y, (at & 2u) != 0u));
}

fn quad(chunk: Chunk, q: u32) -> vec4f {
  return vec4f(unpack4xI8(chunk.quants[q])) * chunk.scale;
}
