// One budget for the trees of a step: of all lanes' candidates the num_rows − num_lanes best stay, by falling score, then by lane and
// node, and rows are given to what stays, lane by lane. A tree's nodes stand by falling score: what stays of it is its beginning.
//   lanes Lane [num_lanes], at most MAX_LANES
// One workgroup, whose threads go through all lanes' nodes: the score of the last one that stays is found digit by digit (16 values
// each), highest first.
// Needs sampling_params, lanes and order_bits. Reference: reference/lane-budget.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
var<immediate> params: LaneParams;

// Of each digit, how many candidates have which value there. Each has bins of its own: so one barrier a digit is enough.
var<workgroup> bins: array<atomic<u32>, 128>;
// Of each lane, candidates above the score of the last one that stays, and those that have it.
var<workgroup> above: array<atomic<u32>, MAX_LANES>;
var<workgroup> equal: array<atomic<u32>, MAX_LANES>;

fn is_candidate(lane: u32, node: u32) -> bool {
  return node > 0u && node < lanes[lane].num_nodes && lanes[lane].alive != 0u;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) thread: u32) {
  let num_places = params.num_lanes * params.num_nodes;
  var prefix = 0u;
  // Candidates that are still to be found among those with the prefix.
  var left = params.num_rows - params.num_lanes;
  for (var round = 0u; round < 8u; round++) {
    let shift = 28u - 4u * round;
    let first = 16u * round;
    for (var i = thread; i < num_places; i += WORKGROUP_SIZE) {
      let lane = i / params.num_nodes;
      let node = i % params.num_nodes;
      if (!is_candidate(lane, node)) { continue; }
      let bits = order_bits(lanes[lane].scores[node]) >> shift;
      if ((bits >> 4u) == prefix) { atomicAdd(&bins[first + (bits & 15u)], 1u); }
    }
    workgroupBarrier();
    var digit = 15u;
    var count = atomicLoad(&bins[first + digit]);
    while (digit > 0u && count < left) {
      left -= count;
      digit--;
      count = atomicLoad(&bins[first + digit]);
    }
    prefix = prefix * 16u + digit;
  }
  for (var i = thread; i < num_places; i += WORKGROUP_SIZE) {
    let lane = i / params.num_nodes;
    let node = i % params.num_nodes;
    if (!is_candidate(lane, node)) { continue; }
    let bits = order_bits(lanes[lane].scores[node]);
    if (bits > prefix) { atomicAdd(&above[lane], 1u); }
    if (bits == prefix) { atomicAdd(&equal[lane], 1u); }
  }
  workgroupBarrier();
  if (thread != 0u) { return; }
  var row = 0u;
  for (var lane = 0u; lane < params.num_lanes; lane++) {
    let num_equal = min(atomicLoad(&equal[lane]), left);
    left -= num_equal;
    lanes[lane].num_kept = 1u + atomicLoad(&above[lane]) + num_equal;
    lanes[lane].first_row = row;
    row += lanes[lane].num_kept;
  }
}
