// What a draft's row reads of the target: nothing. Needs lanes.
fn reads_known(row: u32, lane: u32, position: u32) {}

fn reads_node(row: u32, lane: u32, parent_slot: u32) {}

fn reads_nothing(row: u32, lane: u32) {}
