// 4-bit weights w = d · q + m, rounded to f16, of 16 outputs × 64 inputs a tile:
//   values  u4 [numTiles, 16 outputs, 2 blocks, 32]; of eight neighbours in a u32, 0 2 4 6 are the low half's nibbles, 1 3 5 7 the high's
//   scales  f16 [numTiles, 16 outputs, 2 blocks, (d, m)]
// Lane l has a block of output l / 2.
@group(0) @binding(0) var<storage, read> values: array<vec4u>;
@group(0) @binding(3) var<storage, read> scales: array<vec2<f16>>;
struct Chunk { quants: vec4u, scale: vec2<f16> }

fn fetch(tile: u32, lane: u32) -> Chunk {
  return Chunk(values[tile * 32u + lane], scales[tile * 32u + lane]);
}

fn stage(chunk: Chunk, feature: u32, lane: u32) {
  let at = (feature * 16u + lane / 2u) * STAGED_ROW + (lane % 2u) * 4u;
  staged[at] = eight(chunk.quants.x, chunk.scale);
  staged[at + 1u] = eight(chunk.quants.y, chunk.scale);
  staged[at + 2u] = eight(chunk.quants.z, chunk.scale);
  staged[at + 3u] = eight(chunk.quants.w, chunk.scale);
}

fn eight(nibbles: u32, scale: vec2<f16>) -> vec4u {
  return vec4u(two(nibbles, scale), two(nibbles >> 4u, scale), two(nibbles >> 8u, scale), two(nibbles >> 12u, scale));
}

// A nibble b in the mantissa of 0x6400 is the half 1024 + b: no conversion needed.
fn two(nibbles: u32, scale: vec2<f16>) -> u32 {
  let quants = bitcast<vec2<f16>>((nibbles & 0x000f000fu) | 0x64006400u) - vec2<f16>(1024.0h);
  return bitcast<u32>(fma(quants, vec2<f16>(scale.x), vec2<f16>(scale.y)));
}
