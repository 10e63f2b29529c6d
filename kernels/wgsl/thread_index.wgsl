// Which of a one-dimensional grid's threads this is. A dimension has at most 65,535 workgroups, so longer grids are folded into
// rows of GRID_WIDTH threads (or workgroups, where a kernel counts those). Shared by every kernel of `threadsOp`.
fn thread_index(id: vec3u) -> u32 {
  return id.y * GRID_WIDTH + id.x;
}
