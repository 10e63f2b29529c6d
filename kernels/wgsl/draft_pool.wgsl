// Candidates of a dynamic draft tree (EAGLE-2, arXiv 2406.16858), by level. Level 1 has the root's TOP_K candidates; level
// l > 1 has TOP_K of each of the num_expanded nodes that were expanded at level l − 1. A candidate's place in the pool is its index:
// equal scores go to the lower one, so that no node ranks before its parent. Needs lanes, draft_width_* and draft_score_*.
//   drawn u32 and log_shares f32 [num_lanes, frontier, TOP_K]: successors of the nodes of the level before, best first and
//   distinct, NO_TOKEN where there are fewer; frontier is 1 at level 1, else num_expanded
struct Candidate {
  token: u32,
  // Index of the parent's candidate, NONE for the root.
  parent: u32,
  log_survival: f32,
  // By which it is chosen; LOWEST where there is no such candidate.
  score: f32,
}
struct Pool {
  candidates: array<Candidate, POOL_SIZE>,
  // Of each expanded node by id (id 0 is the root, level l's are from 1 + (l − 1) · num_expanded): its candidate, NONE where it idles,
  // and the id of its parent.
  expanded: array<u32, NUM_EXPANDED>,
  parent_ids: array<u32, NUM_EXPANDED>,
}

const NONE = 0xffffffffu;

fn level_size(level: u32) -> u32 {
  if (level == 1u) { return TOP_K; }
  return params.num_expanded * TOP_K;
}

// First candidate of a level.
fn level_start(level: u32) -> u32 {
  if (level == 1u) { return 0u; }
  return TOP_K + (level - 2u) * params.num_expanded * TOP_K;
}

// Id of the node whose successor the level's candidate `i` is.
fn parent_id(level: u32, i: u32) -> u32 {
  if (level == 1u) { return 0u; }
  return 1u + (level - 2u) * params.num_expanded + i / TOP_K;
}

// Candidate `i` of the level that was drawn last, from the draws and from the level before.
fn fresh(lane: u32, level: u32, i: u32) -> Candidate {
  let at = lane * level_size(level) + i;
  let parent = select(pools[lane].expanded[parent_id(level, i)], NONE, level == 1u);
  let share = log_shares[at];
  let is_number = (bitcast<u32>(share) & 0x7fffffffu) < 0x7f800000u;
  let is_wide = at % TOP_K < width_of(log_shares[at - at % TOP_K]);
  let none = Candidate(NO_TOKEN, NONE, 0.0, LOWEST);
  if (drawn[at] == NO_TOKEN || !is_number || !is_wide || (level > 1u && parent == NONE)) { return none; }
  let survival = min(share, 0.0);
  var parent_score = 0.0;
  if (parent != NONE) { parent_score = pools[lane].candidates[parent].score; }
  let score = score_of(parent_score, survival, at % TOP_K);
  if (score == LOWEST) { return none; }
  return Candidate(drawn[at], parent, survival, score);
}
