// Writes rows of a pass where the host writes them for passes of its own (engine/runner/batch.ts): sections of one buffer of
// u32, whose first words are TOKEN_IDS, SLOTS, ROW_INFO, LOGIT_ROWS, SAMPLING_ROWS and TABLES. In TABLES, lane l's block table
// is at l · TABLE_WORDS; lists of tree keys (attention_rows.wgsl: node i is key i − 1) begin at PATHS, with MAX_PATH words each. Needs lanes.
@group(0) @binding(0) var<storage, read> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read_write> batch: array<u32>;

// Slot of the lane's token or node of this index.
fn slot_at(lane: u32, index: u32) -> u32 {
  return batch[TABLES + lane * TABLE_WORDS + index / BLOCK_SIZE] * BLOCK_SIZE + index % BLOCK_SIZE;
}

// A row that reads keys up to `position`: the first `linear_len` by block table, the others from the list `path` of tree keys.
fn write_row(row: u32, lane: u32, token: u32, slot: u32, position: u32, linear_len: u32, path: u32) {
  batch[TOKEN_IDS + row] = token;
  batch[SLOTS + row] = slot;
  batch[ROW_INFO + 4u * row] = lane * TABLE_WORDS;
  batch[ROW_INFO + 4u * row + 1u] = position;
  batch[ROW_INFO + 4u * row + 2u] = linear_len;
  batch[ROW_INFO + 4u * row + 3u] = path;
}

// A row without use: it reads the lane's first key, and writes to the reserved block 0.
fn write_idle_row(row: u32, lane: u32) {
  write_row(row, lane, 0u, 0u, 0u, 1u, 0u);
}

// Logits of `row` are wanted, to draw the token at `position`.
fn write_sample(index: u32, row: u32, lane: u32, position: u32) {
  batch[LOGIT_ROWS + index] = row;
  let at = SAMPLING_ROWS + 10u * index;
  let sampling = lanes[lane].sampling;
  batch[at] = sampling.seed.x;
  batch[at + 1u] = sampling.seed.y;
  batch[at + 2u] = sampling.choice;
  batch[at + 3u] = position;
  batch[at + 4u] = bitcast<u32>(sampling.inv_temperature);
  batch[at + 5u] = bitcast<u32>(sampling.top_p);
  batch[at + 6u] = bitcast<u32>(sampling.min_p);
  batch[at + 7u] = sampling.top_k;
  batch[at + 8u] = bitcast<u32>(sampling.typical_p);
  batch[at + 9u] = sampling.processor;
}
