// What an EAGLE draft's row reads of the target: a feature (eagle_input.wgsl). A known token at position p has the target's of
// position p, a node the drafter's own of its parent.
//   sources u32 [numRows]: a slot of the target's features, or with OWN set of the drafter's
//   target_tables u32: lane l's block table of the target at l · TARGET_TABLE_WORDS
// Bindings READS and READS + 1. Needs lanes. Reference: engine/speculative/eagle/feature-sources.ts
@group(0) @binding(READS) var<storage, read_write> sources: array<u32>;
@group(0) @binding(READS + 1) var<storage, read> target_tables: array<u32>;

fn reads_known(row: u32, lane: u32, position: u32) {
  let block = target_tables[lane * TARGET_TABLE_WORDS + position / BLOCK_SIZE];
  sources[row] = block * BLOCK_SIZE + position % BLOCK_SIZE;
}

fn reads_node(row: u32, lane: u32, parent_slot: u32) {
  sources[row] = parent_slot | OWN;
}

// A slot of the reserved block.
fn reads_nothing(row: u32, lane: u32) {
  sources[row] = 0u;
}
