// Candidates of a draft tree that grows level by level: a dynamic one (EAGLE-2, arXiv 2406.16858) or one of a given shape. Level 1 has
// the root's TOP_K candidates; level l > 1 has TOP_K of each of the num_expanded nodes that were expanded at level l − 1.
// The best num_nodes − 1 of all so far are kept: neither what is not among them nor its descendants can end up in the tree. Of equal
// scores the older one ranks first, then the one with the lower index in its level, so that no node ranks before its parent.
//   lanes Lane [num_lanes];  pools Pool [num_lanes]
//   drawn u32 and log_shares f32 [num_lanes, frontier, TOP_K]: successors of the nodes of the level before, best first and
//   distinct, NO_TOKEN where there are fewer; frontier is 1 at level 1, else num_expanded
// One workgroup a lane. Needs lanes, draft_width_* and draft_score_*, and those bound. Reference: engine/speculative/tree-builder.ts
struct Candidate {
  token: u32,
  // Id of the expanded node that it is below, and its own once it is expanded itself; 0, the root's, before.
  parent: u32,
  id: u32,
  log_survival: f32,
  // By which it is chosen; LOWEST where there is no such candidate.
  score: f32,
}
struct Pool {
  // Those of the level that was drawn last, in any order, and the index of each in its level.
  fresh: array<Candidate, MAX_FRESH>,
  indices: array<u32, MAX_FRESH>,
  // The best ones by rank, as the last level of even number left them, and the last one of odd number.
  best: array<array<Candidate, MAX_NODES>, 2>,
  num_best: array<u32, 2>,
  // Of each expanded node by id (0 is the root, level l's are from first_id(l) on): its score, LOWEST where it idles, and its parent's id.
  scores: array<f32, NUM_EXPANDED>,
  parents: array<u32, NUM_EXPANDED>,
}

var<workgroup> num_fresh: atomic<u32>;

// Ids of the nodes that are expanded at a level begin here; 0, the root alone, is level 0.
fn first_id(level: u32) -> u32 {
  if (level == 0u) { return 0u; }
  return 1u + (level - 1u) * params.num_expanded;
}

// Nodes that the level's candidates are below.
fn frontier_of(level: u32) -> u32 { return select(params.num_expanded, 1u, level == 1u); }

// Candidate `i` of the level that was drawn last.
fn candidate_at(lane: u32, level: u32, i: u32) -> Candidate {
  let at = lane * frontier_of(level) * TOP_K + i;
  let rank = i % TOP_K;
  let parent = first_id(level - 1u) + i / TOP_K;
  let parent_score = select(pools[lane].scores[parent], 0.0, parent == 0u);
  let share = log_shares[at];
  let is_number = (bitcast<u32>(share) & 0x7fffffffu) < 0x7f800000u;
  let is_wide = rank < width_of(log_shares[at - rank]);
  if (drawn[at] == NO_TOKEN || !is_number || !is_wide || parent_score == LOWEST) {
    return Candidate(NO_TOKEN, parent, 0u, 0.0, LOWEST);
  }
  let survival = min(share, 0.0);
  return Candidate(drawn[at], parent, 0u, survival, score_of(parent_score, survival, rank));
}

// Collects the candidates of the level that was drawn last.
fn collect(lane: u32, level: u32, thread: u32) {
  let size = frontier_of(level) * TOP_K;
  for (var i = thread; i < select(0u, size, drafts(lane)); i += WORKGROUP_SIZE) {
    let candidate = candidate_at(lane, level, i);
    if (candidate.score == LOWEST) { continue; }
    let at = atomicAdd(&num_fresh, 1u);
    pools[lane].fresh[at] = candidate;
    pools[lane].indices[at] = i;
  }
  storageBarrier();
  workgroupBarrier();
}

// Ranks what was collected among the best ones so far, and keeps the best of all: best[level % 2], of which it returns the number.
fn keep_best(lane: u32, level: u32, thread: u32) -> u32 {
  let now = level % 2u;
  let before = 1u - now;
  let most = min(params.num_nodes, MAX_NODES) - 1u;
  let num_before = select(pools[lane].num_best[before], 0u, level == 1u);
  let count = atomicLoad(&num_fresh);
  for (var i = thread; i < num_before; i += WORKGROUP_SIZE) {
    let candidate = pools[lane].best[before][i];
    var rank = i;
    for (var j = 0u; j < count; j++) { rank += select(0u, 1u, pools[lane].fresh[j].score > candidate.score); }
    if (rank < most) { pools[lane].best[now][rank] = candidate; }
  }
  for (var i = thread; i < count; i += WORKGROUP_SIZE) {
    let candidate = pools[lane].fresh[i];
    let index = pools[lane].indices[i];
    var rank = 0u;
    for (var j = 0u; j < num_before; j++) { rank += select(0u, 1u, pools[lane].best[before][j].score >= candidate.score); }
    for (var j = 0u; j < count; j++) {
      let score = pools[lane].fresh[j].score;
      rank += select(0u, 1u, score > candidate.score || (score == candidate.score && pools[lane].indices[j] < index));
    }
    if (rank < most) { pools[lane].best[now][rank] = candidate; }
  }
  let num_best = min(num_before + count, most);
  if (thread == 0u) { pools[lane].num_best[now] = num_best; }
  storageBarrier();
  return num_best;
}
