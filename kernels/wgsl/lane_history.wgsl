// The tokens that a lane's walk has just emitted become known to its processor.
//   lanes Lane [num_lanes];  processors as in processor.wgsl
// One thread a lane. Reference: reference/logits-processor.ts, over the tokens known to the host
@group(0) @binding(0) var<storage, read> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read_write> processors: array<u32>;
var<immediate> params: LaneParams;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x;
  if (lane >= params.num_lanes || lanes[lane].sampling.processor == 0u) { return; }
  let at = (lanes[lane].sampling.processor - 1u) * PROCESSOR_WORDS;
  let num_tokens = lanes[lane].num_tokens;
  let first = num_tokens - lanes[lane].num_recent;
  for (var i = first; i < min(num_tokens, MAX_HISTORY); i++) { processors[at + HISTORY + i] = lanes[lane].recent[i - first]; }
  processors[at + 5u] = num_tokens;
}
