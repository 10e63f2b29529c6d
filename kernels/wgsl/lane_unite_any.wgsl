// Any node of a union may be one of the lane's tree.
fn leave_out(lane: u32, thread: u32, end: u32, num_levels: u32) {}
