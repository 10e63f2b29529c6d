// The best candidates for a tree's nodes below its root, by falling score; of equal ones who was met first.
var<private> best_candidates: array<u32, MAX_NODES>;
var<private> best_scores: array<f32, MAX_NODES>;
var<private> num_best: u32;

// To be called for all candidates by rising index. @param most nodes that there may be
fn consider(candidate: u32, score: f32, most: u32) {
  if (most == 0u || (num_best == most && !(score > best_scores[most - 1u]))) { return; }
  var at = min(num_best, most - 1u);
  while (at > 0u && score > best_scores[max(at, 1u) - 1u]) {
    best_scores[at] = best_scores[at - 1u];
    best_candidates[at] = best_candidates[at - 1u];
    at--;
  }
  best_scores[at] = score;
  best_candidates[at] = candidate;
  num_best = min(num_best + 1u, most);
}

// The node that the candidate became, of those before `node`; 0, the root, where it is none of them.
fn node_of(candidate: u32, node: u32) -> u32 {
  var found = 0u;
  for (var i = 1u; i < node; i++) { found = select(found, i, best_candidates[i - 1u] == candidate); }
  return found;
}
