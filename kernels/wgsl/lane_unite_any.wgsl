// Any node of a union may be one of the lane's tree.
fn has_place(lane: u32, node: u32) -> bool { return true; }
