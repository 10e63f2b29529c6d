// What Medusa's heads propose below every node that a tree may have, best first. A head does not know the path; which of its
// candidates go with the token before them, a table of successors says. Below token t candidate c of a head has log share
//   s(c) + b(t, c) + n
// with b(t, c) the table's entry for c in t's row, or the row's last one where it has none, and n such that the head's candidates
// have the same share together as without the table.
//   roots       u32 [num_rows]
//   drawn       u32: per group of heads RESULT_STRIDE token ids, then as many log shares; head h of row r has TOP_K of each, best
//   first and NO_TOKEN where there are fewer, from ((h % HEADS_PER_GROUP) · num_rows + r) · TOP_K on
//   successors  vec2u [TABLE_ROWS, NUM_SUCCESSORS + 1]: token ids, rising, with f32 bits of b; the last one is for all others. Tokens
//   from TABLE_ROWS on have the last row
//   children    Child [num_rows, 1 + (NUM_HEADS − 1) · TOP_K, TOP_K]: below the root, then below candidate r of depth d at
//   1 + (d − 1) · TOP_K + r; NO_TOKEN where there are fewer
// One workgroup a parent. Needs sampling_params and medusa_child. Reference: reference/medusa-paths.ts
@group(0) @binding(0) var<storage, read> roots: array<u32>;
@group(0) @binding(1) var<storage, read> drawn: array<u32>;
@group(0) @binding(2) var<storage, read> successors: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> children: array<Child>;
var<immediate> num_rows: u32;

// Log shares of the head's candidates, LOWEST where there is none, and the table's word on them.
var<workgroup> shares: array<f32, TOP_K>;
var<workgroup> boosts: array<f32, TOP_K>;

fn score_at(i: u32) -> f32 { return shares[i] + boosts[i]; }

fn drawn_at(row: u32, head: u32, rank: u32) -> u32 {
  let in_group = (head % HEADS_PER_GROUP * num_rows + row) * TOP_K + rank;
  return 2u * (head / HEADS_PER_GROUP) * RESULT_STRIDE + in_group;
}

// b(before, token): by bisection, since a row's tokens rise.
fn affinity(before: u32, token: u32) -> f32 {
  let first = min(before, TABLE_ROWS - 1u) * (NUM_SUCCESSORS + 1u);
  var low = 0u;
  var high = u32(NUM_SUCCESSORS);
  while (low < high) {
    let middle = (low + high) / 2u;
    if (successors[first + middle].x < token) { low = middle + 1u; } else { high = middle; }
  }
  let is_listed = low < NUM_SUCCESSORS && successors[first + low].x == token;
  return bitcast<f32>(successors[first + select(u32(NUM_SUCCESSORS), low, is_listed)].y);
}

@compute @workgroup_size(NUM_THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let place = group.y * (GRID_WIDTH / NUM_THREADS) + group.x;
  if (place >= num_rows * NUM_PARENTS) { return; }
  let row = place / NUM_PARENTS;
  let parent = place % NUM_PARENTS;
  var head = 0u;
  var before = roots[row];
  if (parent > 0u) {
    head = (parent - 1u) / TOP_K + 1u;
    before = drawn[drawn_at(row, head - 1u, (parent - 1u) % TOP_K)];
  }
  for (var rank = thread; rank < TOP_K; rank += NUM_THREADS) {
    let at = drawn_at(row, head, rank);
    let bits = drawn[at + RESULT_STRIDE];
    var share = LOWEST;
    var boost = 0.0;
    if (before != NO_TOKEN && drawn[at] != NO_TOKEN && (bits & 0x7fffffffu) < 0x7f800000u) {
      share = min(bitcast<f32>(bits), 0.0);
      boost = affinity(before, drawn[at]);
    }
    shares[rank] = share;
    boosts[rank] = boost;
  }
  workgroupBarrier();
  var most_share = LOWEST;
  var most_score = LOWEST;
  for (var i = 0u; i < TOP_K; i++) {
    most_share = max(most_share, shares[i]);
    most_score = max(most_score, score_at(i));
  }
  var share_sum = 0.0;
  var score_sum = 0.0;
  for (var i = 0u; i < TOP_K; i++) {
    share_sum += exp(shares[i] - most_share);
    score_sum += exp(score_at(i) - most_score);
  }
  // Nothing where the table says nothing, to the last bit: then both sums are the same.
  let shift = (most_share + log(share_sum)) - (most_score + log(score_sum));
  for (var rank = thread; rank < TOP_K; rank += NUM_THREADS) {
    let score = score_at(rank);
    var num_better = 0u;
    for (var i = 0u; i < TOP_K; i++) {
      let other = score_at(i);
      num_better += select(0u, 1u, other > score || (other == score && i < rank));
    }
    let share = shares[rank];
    let token = select(drawn[drawn_at(row, head, rank)], NO_TOKEN, share == LOWEST);
    children[place * TOP_K + num_better] = Child(token, min(share + (boosts[rank] + shift), 0.0), rank);
  }
}
