// Where a row finds the key of a position: committed positions through its sequence's block table, positions of its own
// tree path through its list of slots. Shared by every attention kernel.
//   row_info  vec4u [numRows]   (table offset, position, linear length, path offset), offsets into `tables`
//   tables    u32   block tables, and lists of path slots
fn slot_of(info: vec4u, position: u32) -> u32 {
  if (position < info.z) {
    return tables[info.x + position / BLOCK_SIZE] * BLOCK_SIZE + position % BLOCK_SIZE;
  }
  return tables[info.w + position - info.z];
}
