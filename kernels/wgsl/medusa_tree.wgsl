// Each lane's tree from the candidates of Medusa's heads: best-first, the num_nodes − 1 likeliest nodes of their Cartesian product
// down to depth `level` (Medusa, arXiv 2401.10774, section 2.1.2). A node's next child is the candidate of the next rank of the head
// of its depth; scores never rise with depth or rank, and equal ones go to the child that could come first.
//   lanes Lane [num_lanes]
//   drawn u32: per group of heads RESULT_STRIDE token ids, then as many log shares; head h of lane l has TOP_K of each, best first
//   and NO_TOKEN where there are fewer, from ((h % HEADS_PER_GROUP) · num_lanes + l) · TOP_K on
// One thread a lane. Reference: engine/speculative/medusa/cartesian-tree.ts
@group(0) @binding(0) var<storage, read_write> lanes: array<Lane>;
@group(0) @binding(1) var<storage, read> drawn: array<u32>;
var<immediate> params: LaneParams;

struct Choice {
  token: u32,
  // LOWEST where there is no such candidate.
  log_survival: f32,
}

// Candidate `rank` of the head that guesses nodes of this depth.
fn choice_of(lane: u32, depth: u32, rank: u32) -> Choice {
  if (depth > min(params.level, NUM_HEADS) || rank >= TOP_K) { return Choice(NO_TOKEN, LOWEST); }
  let head = depth - 1u;
  let row = head % HEADS_PER_GROUP * params.num_lanes + lane;
  let at = 2u * (head / HEADS_PER_GROUP) * RESULT_STRIDE + row * TOP_K + rank;
  let share = drawn[at + RESULT_STRIDE];
  let is_number = (share & 0x7fffffffu) < 0x7f800000u;
  if (drawn[at] == NO_TOKEN || !is_number) { return Choice(NO_TOKEN, LOWEST); }
  return Choice(drawn[at], min(bitcast<f32>(share), 0.0));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let lane = id.x;
  if (lane >= params.num_lanes) { return; }
  lanes[lane].tokens[0] = lanes[lane].recent[max(lanes[lane].num_recent, 1u) - 1u];
  lanes[lane].parents[0] = 0u;
  lanes[lane].depths[0] = 0u;
  lanes[lane].log_survivals[0] = 0.0;
  // Of each node: its score; its next child, that child's score, and since when it can come.
  var scores: array<f32, MAX_NODES>;
  var next: array<Choice, MAX_NODES>;
  var ranks: array<u32, MAX_NODES>;
  var next_scores: array<f32, MAX_NODES>;
  var since: array<u32, MAX_NODES>;
  next[0] = choice_of(lane, 1u, 0u);
  next_scores[0] = next[0].log_survival;
  var count = 1u;
  for (; count < min(params.num_nodes, MAX_NODES); count++) {
    var parent = 0u;
    for (var i = 1u; i < count; i++) {
      let is_better = next_scores[i] > next_scores[parent];
      if (is_better || (next_scores[i] == next_scores[parent] && since[i] < since[parent])) { parent = i; }
    }
    let chosen = next[parent];
    if (chosen.log_survival == LOWEST) { break; }
    let depth = lanes[lane].depths[parent] + 1u;
    lanes[lane].tokens[count] = chosen.token;
    lanes[lane].parents[count] = parent;
    lanes[lane].depths[count] = depth;
    lanes[lane].log_survivals[count] = chosen.log_survival;
    scores[count] = next_scores[parent];
    ranks[parent]++;
    next[parent] = choice_of(lane, depth, ranks[parent]);
    next_scores[parent] = score_of(next[parent], scores[parent]);
    since[parent] = 2u * count;
    next[count] = choice_of(lane, depth + 1u, 0u);
    next_scores[count] = score_of(next[count], scores[count]);
    since[count] = 2u * count + 1u;
  }
  lanes[lane].num_nodes = count;
}

fn score_of(choice: Choice, parent_score: f32) -> f32 {
  return select(parent_score + choice.log_survival, LOWEST, choice.log_survival == LOWEST);
}
