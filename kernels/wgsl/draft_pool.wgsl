// Candidates of a dynamic draft tree (EAGLE-2, arXiv 2406.16858), by level. Level 1 has the root's TOP_K candidates; level
// l > 1 has TOP_K of each of the MAX_FRONTIER nodes that were expanded at level l − 1. A candidate's place in the pool is its index:
// equal scores go to the lower one, so that no node ranks before its parent. Needs lanes and draft_width_*.
//   drawn u32 and log_shares f32 [num_lanes, frontier, TOP_K]: successors of the nodes of the level before, best first and
//   distinct, NO_TOKEN where there are fewer; frontier is 1 at level 1, else MAX_FRONTIER
struct Candidate {
  token: u32,
  // Index of the parent's candidate, NONE for the root.
  parent: u32,
  log_survival: f32,
  // Σ log_survival from the root; LOWEST where there is no such candidate.
  score: f32,
}
struct Pool {
  candidates: array<Candidate, POOL_SIZE>,
  // Of each expanded node by id (id 0 is the root, level l's are from 1 + (l − 1) · MAX_FRONTIER): its candidate, NONE where it idles,
  // and the id of its parent.
  expanded: array<u32, NUM_EXPANDED>,
  parent_ids: array<u32, NUM_EXPANDED>,
}

const NONE = 0xffffffffu;

fn level_size(level: u32) -> u32 {
  if (level == 1u) { return TOP_K; }
  return MAX_FRONTIER * TOP_K;
}

// First candidate of a level.
fn level_start(level: u32) -> u32 {
  if (level == 1u) { return 0u; }
  return TOP_K + (level - 2u) * MAX_FRONTIER * TOP_K;
}

// Id of the node whose successor the level's candidate `i` is.
fn parent_id(level: u32, i: u32) -> u32 {
  if (level == 1u) { return 0u; }
  return 1u + (level - 2u) * MAX_FRONTIER + i / TOP_K;
}

// Candidate `i` of the level that was drawn last, from the draws and from the level before.
fn fresh(lane: u32, level: u32, i: u32) -> Candidate {
  let at = lane * level_size(level) + i;
  let parent = select(pools[lane].expanded[parent_id(level, i)], NONE, level == 1u);
  let share = log_shares[at];
  let is_number = (bitcast<u32>(share) & 0x7fffffffu) < 0x7f800000u;
  let is_wide = at % TOP_K < width_of(log_shares[at - at % TOP_K]);
  if (drawn[at] == NO_TOKEN || !is_number || !is_wide || (level > 1u && parent == NONE)) {
    return Candidate(NO_TOKEN, NONE, 0.0, LOWEST);
  }
  let survival = min(share, 0.0);
  if (level == 1u) { return Candidate(drawn[at], NONE, survival, survival); }
  return Candidate(drawn[at], parent, survival, pools[lane].candidates[parent].score + survival);
}
