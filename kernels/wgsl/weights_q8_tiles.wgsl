// 8-bit weights w = d · q, rounded to f16, of 16 outputs × 64 inputs a tile:
//   values  u8 [numTiles, 2 blocks, 16 outputs, 2, 16], q + 128; of four neighbours the second and third are swapped
//   scales  f16 [numTiles, 16 outputs, 2 blocks], d of 32 inputs
// Lane l has half a block of output l / 2 in each of its two vec4u.
@group(0) @binding(0) var<storage, read> values: array<vec4u>;
@group(0) @binding(3) var<storage, read> scales: array<vec2<f16>>;
struct Chunk { first: vec4u, second: vec4u, scale: vec2<f16> }

fn fetch(tile: u32, lane: u32) -> Chunk {
  return Chunk(values[tile * 64u + lane], values[tile * 64u + 32u + lane], scales[tile * 16u + lane / 2u]);
}

fn stage(chunk: Chunk, feature: u32, lane: u32) {
  let at = (feature * 16u + lane / 2u) * STAGED_ROW + (lane % 2u) * 2u;
  let first = vec2<f16>(chunk.scale.x);
  let second = vec2<f16>(chunk.scale.y);
  staged[at] = vec4u(four(chunk.first.x, first), four(chunk.first.y, first));
  staged[at + 1u] = vec4u(four(chunk.first.z, first), four(chunk.first.w, first));
  staged[at + 4u] = vec4u(four(chunk.second.x, second), four(chunk.second.y, second));
  staged[at + 5u] = vec4u(four(chunk.second.z, second), four(chunk.second.w, second));
}

// A byte b in the mantissa of 0x6400 is the half 1024 + b: no conversion needed.
fn four(bytes: u32, scale: vec2<f16>) -> vec2u {
  let low = (bitcast<vec2<f16>>((bytes & 0x00ff00ffu) | 0x64006400u) - vec2<f16>(1152.0h)) * scale;
  let high = (bitcast<vec2<f16>>(((bytes >> 8u) & 0x00ff00ffu) | 0x64006400u) - vec2<f16>(1152.0h)) * scale;
  return vec2u(bitcast<u32>(low), bitcast<u32>(high));
}
