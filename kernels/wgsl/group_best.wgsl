// The best of a workgroup's candidates, for all of its threads: the highest score, of equal ones the lower token.
struct Candidate { score: f32, token: u32 }
const NONE = Candidate(LOWEST, 0xffffffffu);
var<workgroup> group_candidates: array<Candidate, WORKGROUP_SIZE>;

fn is_better(a: Candidate, b: Candidate) -> bool { return a.score > b.score || (a.score == b.score && a.token < b.token); }

fn better(a: Candidate, b: Candidate) -> Candidate {
  if (is_better(b, a)) { return b; }
  return a;
}

fn group_best(own: Candidate, t: u32) -> Candidate {
  group_candidates[t] = own;
  workgroupBarrier();
  for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
    if (t < half) { group_candidates[t] = better(group_candidates[t], group_candidates[t + half]); }
    workgroupBarrier();
  }
  let best = group_candidates[0];
  workgroupBarrier();
  return best;
}
