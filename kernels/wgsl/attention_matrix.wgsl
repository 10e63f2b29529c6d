// As attention_portable, with subgroup matrices (f16 × f16 → f32, 16 × 16 × 16). One workgroup a (tile, KV head, split): a tile is
// 16 · WARPS consecutive items, item = row · GROUP + head in the KV head's group, 16 items to a subgroup, so that all rows of a
// tree and all heads of a group use each key and value that is staged. Keys come in steps of CHUNK (attention_matrix_steps):
//   S = Q Kᵀ   dimensions ascending, 16 at a time
//   P = f16(exp(scale · S + bias − ref)), 0 for keys that a row does not have; total += Σ P
//   O += P V   keys ascending, 16 at a time; O stays in matrices
// ref is a row's maximum as of late: it moves only when a step's maximum is more than LAG above it, and O is scaled then. So P ≤ e^LAG,
// which halves hold as exactly as smaller numbers, and O hardly ever leaves its matrices. A split begins from a fresh state.
//
// Why a row's bits depend on its own keys alone. (1) An element of a matrix product depends on its row and its column only.
// (2) A row's keys stand in their places by position: step ⌊position / CHUNK⌋, column position mod CHUNK, wherever they lie; a row
// of a tree takes part in a step that stages its own path. (3) In steps and columns that are not a row's, its P is 0, which adds
// exactly 0 to O, since what is staged is some row's key or zero; its ref, total and factor stay as they are. (4) ref, its moves
// and the order of all sums follow from the row's own scores. Tile, grid, batch, pages and what is committed only say where
// things lie. With trees in buffers of their own (the operator), tree keys come after the cached ones by tree index instead.
//
//   q  io_quad [numBatches, Q_HEADS, rows_per_batch, HEAD_DIM / 4];  the rest: attention_rows, attention_keys_matrix*, attention_result
// Lanes 2r and 2r + 1 of a subgroup keep the state of its row r. What a loop could walk through is written out: drivers keep arrays
// that loops index in memory. Reference: reference/attention.ts
@group(0) @binding(5) var<storage, read> q: array<io_quad>;

const LAG = 8.0;
const STEPS = HEAD_DIM / 16u;
/** Rows of scores and weights in workgroup memory: a little longer than CHUNK, so that rows do not meet in one bank. */
const SCORE_STRIDE = 36u;
const WEIGHT_STRIDE = 40u;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

/** Each subgroup's scores of a step, and its outputs on their way out of matrices. */
var<workgroup> scores: array<f32, ROWS * SCORE_STRIDE>;
var<workgroup> weights: array<f16, ROWS * WEIGHT_STRIDE>;
/** Of each subgroup: one of its rows has moved its ref, so outputs are to be scaled. */
var<workgroup> moves: array<u32, WARPS>;

/** State of the lane's row; `factor` is what its output so far is to be scaled by in the step under way. */
var<private> ref_score: f32;
var<private> total: f32;
var<private> factor: f32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(subgroup_id) warp: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let t = warp * SUBGROUP + lane;
  let tile = Tile(group.x * ROWS, min(ROWS, params.num_rows * GROUP - group.x * ROWS), group.y, group.z);
  let row = t / 2u;
  load_rows(tile, t);
  load_queries(tile, t);
  workgroupBarrier();
  let query_at = warp * 16u * STAGE_STRIDE;
  var q0: Left;
  if (STEPS > 0u) { q0 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 0u, STAGE_STRIDE); }
  var q1: Left;
  if (STEPS > 1u) { q1 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 2u, STAGE_STRIDE); }
  var q2: Left;
  if (STEPS > 2u) { q2 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 4u, STAGE_STRIDE); }
  var q3: Left;
  if (STEPS > 3u) { q3 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 6u, STAGE_STRIDE); }
  var q4: Left;
  if (STEPS > 4u) { q4 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 8u, STAGE_STRIDE); }
  var q5: Left;
  if (STEPS > 5u) { q5 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 10u, STAGE_STRIDE); }
  var q6: Left;
  if (STEPS > 6u) { q6 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 12u, STAGE_STRIDE); }
  var q7: Left;
  if (STEPS > 7u) { q7 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 14u, STAGE_STRIDE); }
  var q8: Left;
  if (STEPS > 8u) { q8 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 16u, STAGE_STRIDE); }
  var q9: Left;
  if (STEPS > 9u) { q9 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 18u, STAGE_STRIDE); }
  var q10: Left;
  if (STEPS > 10u) { q10 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 20u, STAGE_STRIDE); }
  var q11: Left;
  if (STEPS > 11u) { q11 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 22u, STAGE_STRIDE); }
  var q12: Left;
  if (STEPS > 12u) { q12 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 24u, STAGE_STRIDE); }
  var q13: Left;
  if (STEPS > 13u) { q13 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 26u, STAGE_STRIDE); }
  var q14: Left;
  if (STEPS > 14u) { q14 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 28u, STAGE_STRIDE); }
  var q15: Left;
  if (STEPS > 15u) { q15 = subgroupMatrixLoad<Left, row_major>(&staged, query_at + 30u, STAGE_STRIDE); }
  var o0 = Result();
  var o1 = Result();
  var o2 = Result();
  var o3 = Result();
  var o4 = Result();
  var o5 = Result();
  var o6 = Result();
  var o7 = Result();
  var o8 = Result();
  var o9 = Result();
  var o10 = Result();
  var o11 = Result();
  var o12 = Result();
  var o13 = Result();
  var o14 = Result();
  var o15 = Result();
  ref_score = NO_SCORE;
  total = 0.0;

  var step = before_all();
  var any_moves: array<u32, WARPS>;
  loop {
    let weighed = step.kind != STEP_NONE;
    // Keys of the next step are on their way while the last one's values are multiplied.
    step = next_step(tile, step, t);
    let place = place_of(tile, step, lane);
    let keys = fetch_keys(place, t);
    if (weighed) {
      var moving = 0u;
      for (var w = 0u; w < WARPS; w++) { moving |= any_moves[w]; }
      if (moving != 0u) {
        if (STEPS > 0u) { o0 = rescaled(o0, warp, lane); }
        if (STEPS > 1u) { o1 = rescaled(o1, warp, lane); }
        if (STEPS > 2u) { o2 = rescaled(o2, warp, lane); }
        if (STEPS > 3u) { o3 = rescaled(o3, warp, lane); }
        if (STEPS > 4u) { o4 = rescaled(o4, warp, lane); }
        if (STEPS > 5u) { o5 = rescaled(o5, warp, lane); }
        if (STEPS > 6u) { o6 = rescaled(o6, warp, lane); }
        if (STEPS > 7u) { o7 = rescaled(o7, warp, lane); }
        if (STEPS > 8u) { o8 = rescaled(o8, warp, lane); }
        if (STEPS > 9u) { o9 = rescaled(o9, warp, lane); }
        if (STEPS > 10u) { o10 = rescaled(o10, warp, lane); }
        if (STEPS > 11u) { o11 = rescaled(o11, warp, lane); }
        if (STEPS > 12u) { o12 = rescaled(o12, warp, lane); }
        if (STEPS > 13u) { o13 = rescaled(o13, warp, lane); }
        if (STEPS > 14u) { o14 = rescaled(o14, warp, lane); }
        if (STEPS > 15u) { o15 = rescaled(o15, warp, lane); }
      }
      let weights_at = warp * 16u * WEIGHT_STRIDE;
      let near_weights = subgroupMatrixLoad<Left, row_major>(&weights, weights_at, WEIGHT_STRIDE);
      let far_weights = subgroupMatrixLoad<Left, row_major>(&weights, weights_at + 16u, WEIGHT_STRIDE);
      if (STEPS > 0u) {
        o0 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 0u), o0);
        o0 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 0u), o0);
      }
      if (STEPS > 1u) {
        o1 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 1u), o1);
        o1 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 1u), o1);
      }
      if (STEPS > 2u) {
        o2 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 2u), o2);
        o2 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 2u), o2);
      }
      if (STEPS > 3u) {
        o3 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 3u), o3);
        o3 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 3u), o3);
      }
      if (STEPS > 4u) {
        o4 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 4u), o4);
        o4 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 4u), o4);
      }
      if (STEPS > 5u) {
        o5 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 5u), o5);
        o5 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 5u), o5);
      }
      if (STEPS > 6u) {
        o6 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 6u), o6);
        o6 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 6u), o6);
      }
      if (STEPS > 7u) {
        o7 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 7u), o7);
        o7 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 7u), o7);
      }
      if (STEPS > 8u) {
        o8 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 8u), o8);
        o8 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 8u), o8);
      }
      if (STEPS > 9u) {
        o9 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 9u), o9);
        o9 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 9u), o9);
      }
      if (STEPS > 10u) {
        o10 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 10u), o10);
        o10 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 10u), o10);
      }
      if (STEPS > 11u) {
        o11 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 11u), o11);
        o11 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 11u), o11);
      }
      if (STEPS > 12u) {
        o12 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 12u), o12);
        o12 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 12u), o12);
      }
      if (STEPS > 13u) {
        o13 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 13u), o13);
        o13 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 13u), o13);
      }
      if (STEPS > 14u) {
        o14 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 14u), o14);
        o14 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 14u), o14);
      }
      if (STEPS > 15u) {
        o15 = subgroupMatrixMultiplyAccumulate(near_weights, value_block(0u, 15u), o15);
        o15 = subgroupMatrixMultiplyAccumulate(far_weights, value_block(16u, 15u), o15);
      }
    }
    if (step.kind == STEP_NONE) { break; }
    stage(keys, 0u, t);
    workgroupBarrier();
    let values = fetch_values(place, t);
    var near = Result();
    var far = Result();
    if (STEPS > 0u) {
      near = subgroupMatrixMultiplyAccumulate(q0, key_block(0u, 0u), near);
      far = subgroupMatrixMultiplyAccumulate(q0, key_block(16u, 0u), far);
    }
    if (STEPS > 1u) {
      near = subgroupMatrixMultiplyAccumulate(q1, key_block(0u, 1u), near);
      far = subgroupMatrixMultiplyAccumulate(q1, key_block(16u, 1u), far);
    }
    if (STEPS > 2u) {
      near = subgroupMatrixMultiplyAccumulate(q2, key_block(0u, 2u), near);
      far = subgroupMatrixMultiplyAccumulate(q2, key_block(16u, 2u), far);
    }
    if (STEPS > 3u) {
      near = subgroupMatrixMultiplyAccumulate(q3, key_block(0u, 3u), near);
      far = subgroupMatrixMultiplyAccumulate(q3, key_block(16u, 3u), far);
    }
    if (STEPS > 4u) {
      near = subgroupMatrixMultiplyAccumulate(q4, key_block(0u, 4u), near);
      far = subgroupMatrixMultiplyAccumulate(q4, key_block(16u, 4u), far);
    }
    if (STEPS > 5u) {
      near = subgroupMatrixMultiplyAccumulate(q5, key_block(0u, 5u), near);
      far = subgroupMatrixMultiplyAccumulate(q5, key_block(16u, 5u), far);
    }
    if (STEPS > 6u) {
      near = subgroupMatrixMultiplyAccumulate(q6, key_block(0u, 6u), near);
      far = subgroupMatrixMultiplyAccumulate(q6, key_block(16u, 6u), far);
    }
    if (STEPS > 7u) {
      near = subgroupMatrixMultiplyAccumulate(q7, key_block(0u, 7u), near);
      far = subgroupMatrixMultiplyAccumulate(q7, key_block(16u, 7u), far);
    }
    if (STEPS > 8u) {
      near = subgroupMatrixMultiplyAccumulate(q8, key_block(0u, 8u), near);
      far = subgroupMatrixMultiplyAccumulate(q8, key_block(16u, 8u), far);
    }
    if (STEPS > 9u) {
      near = subgroupMatrixMultiplyAccumulate(q9, key_block(0u, 9u), near);
      far = subgroupMatrixMultiplyAccumulate(q9, key_block(16u, 9u), far);
    }
    if (STEPS > 10u) {
      near = subgroupMatrixMultiplyAccumulate(q10, key_block(0u, 10u), near);
      far = subgroupMatrixMultiplyAccumulate(q10, key_block(16u, 10u), far);
    }
    if (STEPS > 11u) {
      near = subgroupMatrixMultiplyAccumulate(q11, key_block(0u, 11u), near);
      far = subgroupMatrixMultiplyAccumulate(q11, key_block(16u, 11u), far);
    }
    if (STEPS > 12u) {
      near = subgroupMatrixMultiplyAccumulate(q12, key_block(0u, 12u), near);
      far = subgroupMatrixMultiplyAccumulate(q12, key_block(16u, 12u), far);
    }
    if (STEPS > 13u) {
      near = subgroupMatrixMultiplyAccumulate(q13, key_block(0u, 13u), near);
      far = subgroupMatrixMultiplyAccumulate(q13, key_block(16u, 13u), far);
    }
    if (STEPS > 14u) {
      near = subgroupMatrixMultiplyAccumulate(q14, key_block(0u, 14u), near);
      far = subgroupMatrixMultiplyAccumulate(q14, key_block(16u, 14u), far);
    }
    if (STEPS > 15u) {
      near = subgroupMatrixMultiplyAccumulate(q15, key_block(0u, 15u), near);
      far = subgroupMatrixMultiplyAccumulate(q15, key_block(16u, 15u), far);
    }
    let scores_at = warp * 16u * SCORE_STRIDE;
    subgroupMatrixStore<row_major>(&scores, scores_at, near, SCORE_STRIDE);
    subgroupMatrixStore<row_major>(&scores, scores_at + 16u, far, SCORE_STRIDE);
    workgroupBarrier();
    weigh(tile, step, row, t % 2u);
    let moved = subgroupAny(factor != 1.0);
    if (lane == 0u) { moves[warp] = select(0u, 1u, moved); }
    stage(values, CHUNK, t);
    any_moves = workgroupUniformLoad(&moves);
  }

  let item = tile.first_item + row;
  let writes = row < tile.num_rows && (params.num_splits == 1u || tile.split < num_parts(infos[row]));
  if (writes && t % 2u == 0u) { write_stats(item / GROUP, head_of(tile, item), tile.split, ref_score, total); }
  if (STEPS > 0u) { write_outputs(o0, o1, 0u, tile, writes, warp, lane); }
  if (STEPS > 2u) { write_outputs(o2, o3, 1u, tile, writes, warp, lane); }
  if (STEPS > 4u) { write_outputs(o4, o5, 2u, tile, writes, warp, lane); }
  if (STEPS > 6u) { write_outputs(o6, o7, 3u, tile, writes, warp, lane); }
  if (STEPS > 8u) { write_outputs(o8, o9, 4u, tile, writes, warp, lane); }
  if (STEPS > 10u) { write_outputs(o10, o11, 5u, tile, writes, warp, lane); }
  if (STEPS > 12u) { write_outputs(o12, o13, 6u, tile, writes, warp, lane); }
  if (STEPS > 14u) { write_outputs(o14, o15, 7u, tile, writes, warp, lane); }
}

fn key_block(first_key: u32, step: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&staged, first_key * STAGE_STRIDE + 2u * step, STAGE_STRIDE);
}

fn value_block(first_key: u32, step: u32) -> Right {
  return subgroupMatrixLoad<Right, row_major>(&staged, (CHUNK + first_key) * STAGE_STRIDE + 2u * step, STAGE_STRIDE);
}

/** Scores of the step become weights; the lane takes every other column of its row. */
fn weigh(tile: Tile, step: Step, row: u32, part: u32) {
  let own = own_columns(tile, step, row, part);
  var top = NO_SCORE;
  for (var c = part; c < CHUNK; c += 2u) {
    if ((own.columns & (1u << c)) != 0u) {
      let score = scores[row * SCORE_STRIDE + c] * params.scale + bias_of(own, c);
      scores[row * SCORE_STRIDE + c] = score;
      top = max(top, score);
    }
  }
  top = max(top, subgroupShuffleXor(top, 1u));
  factor = 1.0;
  if (top > ref_score + LAG) {
    // Nothing has been added up yet where total is 0.
    factor = select(1.0, exp(ref_score - top), total > 0.0);
    ref_score = top;
  }
  var sum = 0.0;
  for (var c = part; c < CHUNK; c += 2u) {
    var weight = 0.0h;
    if ((own.columns & (1u << c)) != 0u) { weight = f16(exp(scores[row * SCORE_STRIDE + c] - ref_score)); }
    weights[row * WEIGHT_STRIDE + c] = weight;
    sum += f32(weight);
  }
  total = fma(total, factor, sum + subgroupShuffleXor(sum, 1u));
}

/** Outputs with each row scaled by its lanes' factor: elements of matrices are only to be had in memory. */
fn rescaled(outputs: Result, warp: u32, lane: u32) -> Result {
  let at = warp * 16u * SCORE_STRIDE;
  workgroupBarrier();
  subgroupMatrixStore<row_major>(&scores, at, outputs, SCORE_STRIDE);
  workgroupBarrier();
  let first = at + lane / 2u * SCORE_STRIDE + lane % 2u * 8u;
  for (var i = 0u; i < 8u; i++) { scores[first + i] *= factor; }
  workgroupBarrier();
  return subgroupMatrixLoad<Result, row_major>(&scores, at, SCORE_STRIDE);
}

/** Writes 32 dimensions of every row, from `2 · pair` matrices on; the second one may not exist. */
fn write_outputs(first: Result, second: Result, pair: u32, tile: Tile, writes: bool, warp: u32, lane: u32) {
  let at = warp * 16u * SCORE_STRIDE;
  workgroupBarrier();
  subgroupMatrixStore<row_major>(&scores, at, first, SCORE_STRIDE);
  subgroupMatrixStore<row_major>(&scores, at + 16u, second, SCORE_STRIDE);
  workgroupBarrier();
  if (!writes) { return; }
  let item = tile.first_item + warp * 16u + lane / 2u;
  for (var i = 0u; i < 4u; i++) {
    let quad = pair * 8u + lane % 2u * 4u + i;
    let begin = at + lane / 2u * SCORE_STRIDE + lane % 2u * 16u + i * 4u;
    if (quad < QUADS) {
      let values = vec4f(scores[begin], scores[begin + 1u], scores[begin + 2u], scores[begin + 3u]);
      write_quad(item / GROUP, head_of(tile, item), tile.split, quad, values, total);
    }
  }
}
