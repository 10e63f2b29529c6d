// One budget for the trees of a step: of all lanes' candidates the num_rows − num_lanes best stay, by falling score, then by lane and
// node, and rows are given to what stays, lane by lane. A tree's nodes stand by falling score: what stays of it is its beginning.
//   lanes Lane [num_lanes], at most MAX_LANES
// One workgroup: the score of the last one that stays is found digit by digit (16 values each), highest first.
// Needs sampling_params, lanes and order_bits. Reference: reference/lane-budget.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
var<immediate> params: LaneParams;

var<workgroup> bins: array<atomic<u32>, 16>;
var<workgroup> digit: u32;
// Of each lane, candidates above that score, and those that have it.
var<workgroup> above: array<u32, MAX_LANES>;
var<workgroup> equal: array<u32, MAX_LANES>;

// A lane's candidates are its nodes from 1 up to here.
fn end_of(lane: u32) -> u32 { return select(1u, lanes[lane].num_nodes, lanes[lane].alive != 0u); }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) thread: u32) {
  var prefix = 0u;
  // Candidates that are still to be found among those with the prefix. Thread 0 alone keeps count.
  var left = params.num_rows - params.num_lanes;
  for (var round = 0u; round < 8u; round++) {
    let shift = 28u - 4u * round;
    if (thread < 16u) { atomicStore(&bins[thread], 0u); }
    workgroupBarrier();
    for (var lane = thread; lane < params.num_lanes; lane += WORKGROUP_SIZE) {
      for (var node = 1u; node < end_of(lane); node++) {
        let bits = order_bits(lanes[lane].scores[node]) >> shift;
        if ((bits >> 4u) == prefix) { atomicAdd(&bins[bits & 15u], 1u); }
      }
    }
    workgroupBarrier();
    if (thread == 0u) {
      digit = 15u;
      var count = atomicLoad(&bins[15]);
      while (digit > 0u && count < left) {
        left -= count;
        digit--;
        count = atomicLoad(&bins[digit]);
      }
    }
    prefix = prefix * 16u + workgroupUniformLoad(&digit);
  }
  for (var lane = thread; lane < params.num_lanes; lane += WORKGROUP_SIZE) {
    var num_above = 0u;
    var num_equal = 0u;
    for (var node = 1u; node < end_of(lane); node++) {
      let bits = order_bits(lanes[lane].scores[node]);
      num_above += select(0u, 1u, bits > prefix);
      num_equal += select(0u, 1u, bits == prefix);
    }
    above[lane] = num_above;
    equal[lane] = num_equal;
  }
  workgroupBarrier();
  if (thread != 0u) { return; }
  var row = 0u;
  for (var lane = 0u; lane < params.num_lanes; lane++) {
    let num_equal = min(equal[lane], left);
    left -= num_equal;
    lanes[lane].num_kept = 1u + above[lane] + num_equal;
    lanes[lane].first_row = row;
    row += lanes[lane].num_kept;
  }
}
