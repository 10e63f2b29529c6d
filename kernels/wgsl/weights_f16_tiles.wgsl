// Weights of 16 outputs × 64 inputs a tile, for subgroup matrices: f16 [numTiles, 4, 16 outputs, 16 inputs], read as they are.
@group(0) @binding(0) var<storage, read> values: array<f16>;
alias Left = subgroup_matrix_left<f16, 16, 16>;
struct Chunk { unused: u32 }

fn fetch(tile: u32, lane: u32) -> Chunk { return Chunk(0u); }

fn stage(chunk: Chunk, feature: u32, lane: u32) {}

fn left(feature: u32, tile: u32, step: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&values, (tile * 4u + step) * 256u, 16u);
}
