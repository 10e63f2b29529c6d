// The halves of the input of EAGLE-3's layer, before their norms, and what its kernels are bound to:
//   half 0  the embedding of the row's token
//   half 1  the row's feature: of the drafter's own where OWN is set in its source, else the fused levels of the target
//   table      vec4<kv_t> [vocabSize, COLUMNS], COLUMNS = HIDDEN_SIZE / 4
//   token_ids, sources  u32 [numRows]
//   parts      the product that fused the levels (product_sum.wgsl)
//   own        vec4<kv_t> [numSlots, COLUMNS]; not read where OWN_IN_HIDDEN is 1, as `hidden` has these features already
//   gains      vec4f [2, COLUMNS], a norm's for each half
//   hidden     vec4f [numRows, COLUMNS], the residual stream: it begins with half 1
//   x          the input of the next product, 2 · COLUMNS wide (activation_*.wgsl)
@group(0) @binding(0) var<storage, read> table: array<vec4<kv_t>>;
@group(0) @binding(1) var<storage, read> token_ids: array<u32>;
@group(0) @binding(2) var<storage, read> sources: array<u32>;
@group(0) @binding(3) var<storage, read> parts: array<vec4f>;
@group(0) @binding(4) var<storage, read> own: array<vec4<kv_t>>;
@group(0) @binding(5) var<storage, read> gains: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> hidden: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> x: array<vec4<x_t>>;
var<immediate> num_rows: u32;

fn half_value(row: u32, half: u32, column: u32) -> vec4f {
  if (half == 0u) { return vec4f(table[token_ids[row] * COLUMNS + column]); }
  let source = sources[row];
  if (source >= OWN) {
    if (OWN_IN_HIDDEN == 1) { return hidden[row * COLUMNS + column]; }
    return vec4f(own[(source & ~OWN) * COLUMNS + column]);
  }
  return product_sum(row, column);
}

fn write_half(row: u32, half: u32, column: u32, value: vec4f, scale: f32) {
  if (half == 1u) { hidden[row * COLUMNS + column] = value; }
  write_activation(row, half * COLUMNS + column, value * scale * gains[half * COLUMNS + column]);
}
