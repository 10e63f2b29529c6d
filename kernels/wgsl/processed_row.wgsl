// What a row that samples follows: the known tokens of its sequence, and then, for a node of a draft tree, its path from below
// the root down to itself. All of it is in the batch already (attention_rows.wgsl, engine/runner/batch.ts): node i's row lies
// i rows after the root's, and its path is a list of tree keys i − 1.
@group(0) @binding(0) var<storage, read> batch: array<u32>;
@group(0) @binding(1) var<storage, read> processors: array<u32>;

struct ProcessedRow {
  // 1 + its place among the processors; 0: the row has none.
  processor: u32,
  // Position of the token that is drawn.
  position: u32,
  num_known: u32,
  depth: u32,
  // Where its list of tree keys begins, and the row of key 0.
  path: u32,
  first_node: u32,
}

fn processed_row(index: u32) -> ProcessedRow {
  let sampling = SAMPLING_ROWS + SAMPLING_ROW_WORDS * index;
  let row = batch[LOGIT_ROWS + index];
  let info = ROW_INFO + 4u * row;
  let num_known = batch[info + 2u];
  let depth = batch[info + 1u] + 1u - num_known;
  let path = TABLES + batch[info + 3u];
  var first_node = row;
  if (depth > 0u) { first_node = row - batch[path + depth - 1u]; }
  return ProcessedRow(batch[sampling + 9u], batch[sampling + 3u], num_known, depth, path, first_node);
}

// The token at `depth` 1 … row.depth of the row's path.
fn path_token(row: ProcessedRow, depth: u32) -> u32 {
  return batch[TOKEN_IDS + row.first_node + batch[row.path + depth - 1u]];
}
