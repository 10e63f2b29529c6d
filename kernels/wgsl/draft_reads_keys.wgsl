// What a GLIDE draft's row reads of the target: the keys of all known tokens but the root, of which there are none yet.
//   cross_rows vec4u [numRows], as of any attention (attention_rows.wgsl): lane l's block table of the target is at
//   l · TARGET_TABLE_WORDS of the tables
// Binding READS. Needs lanes. Reference: engine/speculative/glide/cross-inputs.ts
@group(0) @binding(READS) var<storage, read_write> cross_rows: array<vec4u>;

fn read_keys(row: u32, lane: u32, num_keys: u32) {
  cross_rows[row] = vec4u(lane * TARGET_TABLE_WORDS, num_keys - 1u, num_keys, 0u);
}

fn reads_known(row: u32, lane: u32, position: u32) {
  read_keys(row, lane, lanes[lane].num_tokens - 1u);
}

fn reads_node(row: u32, lane: u32, parent_slot: u32) {
  read_keys(row, lane, lanes[lane].num_tokens - 1u);
}

// The lane's first key alone.
fn reads_nothing(row: u32, lane: u32) {
  read_keys(row, lane, 1u);
}
