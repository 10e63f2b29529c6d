// What a row that drafts is taken to follow: the known tokens alone. Its pass holds nothing but the last level of the tree that is
// being grown, and a guess need not know the few tokens of its path. Otherwise as processed_row.
//   sampling_rows SamplingRow [num_rows] (sampling_params.wgsl), as words
@group(0) @binding(0) var<storage, read> sampling_rows: array<u32>;
@group(0) @binding(1) var<storage, read> processors: array<u32>;

struct ProcessedRow {
  // 1 + its place among the processors; 0: the row has none.
  processor: u32,
  // Position of the token that is guessed.
  position: u32,
  depth: u32,
}

fn processed_row(index: u32) -> ProcessedRow {
  let at = SAMPLING_ROW_WORDS * index;
  return ProcessedRow(sampling_rows[at + 9u], sampling_rows[at + 3u], 0u);
}

// There is none.
fn path_token(row: ProcessedRow, depth: u32) -> u32 { return VOCAB_SIZE; }
