// Weights of 16 outputs × 64 inputs a tile: f16 [numTiles, 4, 16 outputs, 16 inputs].
// Lane l has half of output l / 2 in each of its four vec4u.
@group(0) @binding(0) var<storage, read> values: array<vec4u>;
struct Chunk { a: vec4u, b: vec4u, c: vec4u, d: vec4u }

fn fetch(tile: u32, lane: u32) -> Chunk {
  let at = tile * 128u + lane;
  return Chunk(values[at], values[at + 32u], values[at + 64u], values[at + 96u]);
}

fn stage(chunk: Chunk, feature: u32, lane: u32) {
  let at = (feature * 16u + lane / 2u) * STAGED_ROW + lane % 2u;
  staged[at] = chunk.a;
  staged[at + 2u] = chunk.b;
  staged[at + 4u] = chunk.c;
  staged[at + 6u] = chunk.d;
}
