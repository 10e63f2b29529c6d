// As attention_portable, with subgroup matrices (f16 × f16 → f32, 16 × 16 × 16). One workgroup of 8 subgroups a (tile, KV head,
// split): a tile is at most ROWS (16 or 32) consecutive items, item = row · GROUP + head in the KV head's group, as many as the grid
// leaves to each, so that rows of a tree and heads of a group use each key and value that is loaded. Positions are done in segments of SEGMENT, from fresh state each:
//   S = Q Kᵀ   a subgroup has 16 positions; dimensions ascending, 16 at a time
//   P = f16(exp(scale · S + bias − max)), 0 for keys that a row does not have; total = Σ P, sixteen lanes a row
//   O = P V    a subgroup has 16 dimensions and one of PARTS ranges of the positions, ascending, 16 at a time; parts are then added
// and folded in ascending order as attention_merge folds splits. attention_matrix_entries says which keys are for which rows: products
// go entry by entry, and rows that an entry is not for are zeros in Q and P. attention_matrix_operands brings keys and values.
//
// Why a row's bits depend on its own keys alone. (1) An element of a matrix product depends on its row and its column only. (2) A
// row's keys stand in their places by position, wherever they lie: segment ⌊position / SEGMENT⌋, column position mod SEGMENT. (3) In
// columns that are not a row's, its P is 0, and so are its rows of Q and P in entries that are not its own: they add exactly 0 to
// its sums, since what is multiplied is some row's key or zero. Segments without keys of a row scale its state by exp(0) and add
// 0. (4) The order of all sums is fixed and ROWS does not enter it. Tile, grid, batch, pages and what is committed only say where
// things lie. With trees in buffers of their own (the operator), tree keys are further segments by tree index.
//
//   q  io_quad [numBatches, ROW_HEADS, rows_per_batch, HEAD_DIM / 4];  the rest: attention_rows, attention_keys_matrix*, attention_result
// Matrices have names: drivers keep an array that a loop indexes in memory. Reference: reference/attention.ts
@group(0) @binding(5) var<storage, read> q: array<io_quad>;

/** From row to row in `scores`: a little more than there is, or rows would meet in one bank. */
const SCORE_STRIDE = SEGMENT + 4u;
const OUTPUT_STRIDE = PARTS * HEAD_DIM + 4u;
/** Threads that read a row's list. */
const LIST_THREADS = WORKGROUP_SIZE / ROWS;
/** Quads of the output that a thread owns: t, t + WORKGROUP_SIZE, … */
const OWN_QUADS = (ROWS * QUADS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;

/** Scores [ROWS, SEGMENT], then outputs [ROWS, PARTS, HEAD_DIM]. */
var<workgroup> scores: array<f32, ROWS * max(SCORE_STRIDE, OUTPUT_STRIDE)>;
/** (keep, add) of each row's fold; at the end its maximum and total. */
var<workgroup> factors: array<vec2f, ROWS>;
/** Tree keys of a segment that each row's list names. */
var<workgroup> named: array<atomic<u32>, ROWS * 4u>;

/** A row's state, (max, total), and the lane's 8 weights of the segment. */
struct Weighed { state: vec2f, weights: vec4u }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) num_groups: vec3u,
  @builtin(subgroup_id) warp: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let t = warp * SUBGROUP + lane;
  let num_items = params.num_rows * GROUP;
  let tile_items = (num_items + num_groups.x - 1u) / num_groups.x;
  let first_item = group.x * tile_items;
  let num_rows = min(tile_items, num_items - first_item);
  let tile = Tile(params.first_row * GROUP + first_item, num_rows, group.y, group.z);
  let info = own_info(tile, lane);
  load_queries(tile, t);
  let plan = plan_tile(tile, info, t);
  var num_entries = 1u;
  if (plan.simple == 0u) { num_entries = find_entries(tile, info, t); }

  let split_start = tile.split * params.split_size;
  let num_cached = (max(plan.last, split_start) - split_start + SEGMENT - 1u) / SEGMENT;
  let num_segments = num_cached + (plan.tree_end + SEGMENT - 1u) / SEGMENT;
  var near_row = vec2f(NO_SCORE, 0.0);
  var far_row = near_row;
  var output_0 = vec4f();
  var output_1 = vec4f();
  var output_2 = vec4f();
  var output_3 = vec4f();

  for (var s = 0u; s < num_segments; s++) {
    let in_tree = s >= num_cached;
    let segment = Segment(select(split_start + s * SEGMENT, (s - num_cached) * SEGMENT, in_tree), in_tree);
    score(tile, plan, num_entries, segment, warp, t);
    if (in_tree) {
      read_lists(tile, segment.start, t);
      workgroupBarrier();
    }
    let near = weigh(tile, segment, t / 16u, t % 16u, near_row);
    near_row = near.state;
    var far = near;
    if (ROWS == 32u) {
      far = weigh(tile, segment, 16u + t / 16u, t % 16u, far_row);
      far_row = far.state;
    }
    add_up(tile, plan, num_entries, segment, near.weights, far.weights, warp, t);
    output_0 = folded(output_0, t);
    if (OWN_QUADS > 1u) { output_1 = folded(output_1, t + WORKGROUP_SIZE); }
    if (OWN_QUADS > 2u) { output_2 = folded(output_2, t + 2u * WORKGROUP_SIZE); }
    if (OWN_QUADS > 3u) { output_3 = folded(output_3, t + 3u * WORKGROUP_SIZE); }
    workgroupBarrier();
  }

  if (t % 16u == 0u) {
    factors[t / 16u] = near_row;
    if (ROWS == 32u) { factors[16u + t / 16u] = far_row; }
  }
  workgroupBarrier();
  write_output(tile, output_0, t);
  if (OWN_QUADS > 1u) { write_output(tile, output_1, t + WORKGROUP_SIZE); }
  if (OWN_QUADS > 2u) { write_output(tile, output_2, t + 2u * WORKGROUP_SIZE); }
  if (OWN_QUADS > 3u) { write_output(tile, output_3, t + 3u * WORKGROUP_SIZE); }
}

/** Q Kᵀ of a segment, to `scores`. The values that come first are staged by the time that it ends. */
fn score(tile: Tile, plan: Plan, num_entries: u32, segment: Segment, warp: u32, t: u32) {
  let own = segment.start + 16u * warp;
  let left = select(LEFT, 0u, plan.simple == 1u);
  var near = Result();
  var far = Result();
  var values = Fetched(vec4u(), vec4u(), vec4u(), vec4u());
  var staged_is_read = false;
  for (var e = 0u; e < num_entries; e++) {
    let entry = entry_at(plan, e);
    let span = span_of(plan, entry, segment);
    if (span.end <= span.first) { continue; }
    find_places(tile, entry, span, segment, t);
    if (plan.simple == 0u) { fill_queries(entry.mask, t); }
    workgroupBarrier();
    let direct = own >= span.first && own < span.k_direct;
    let place = places[16u * warp];
    let keys = load_keys(place, 0u, direct);
    if (e == 0u) { values = fetch_values(first_round(span.first - segment.start), t); }
    let staged_first = max(span.first, span.k_direct);
    var round = first_round(staged_first - segment.start);
    if (staged_first < span.end) {
      stage(fetch_keys(round, t), t);
      workgroupBarrier();
    }
    if (direct) {
      near = product(left, STAGE_STRIDE, keys, min(STEPS, 8u), near);
      if (ROWS == 32u) { far = product(left + 16u * STAGE_STRIDE, STAGE_STRIDE, keys, min(STEPS, 8u), far); }
      if (STEPS > 8u) { near = product(left + 16u, STAGE_STRIDE, load_keys(place, 8u, true), max(STEPS, 8u) - 8u, near); }
    }
    while (staged_first < span.end && segment.start + round < span.end) {
      if (own >= staged_first && own < span.end && first_round(16u * warp) == round) {
        let at = (16u * warp - round) * STAGE_STRIDE;
        for (var step = 0u; step < STEPS; step++) {
          let key = subgroupMatrixLoad<Right, col_major>(&staged, at + 2u * step, STAGE_STRIDE);
          near = multiply(left + 2u * step, STAGE_STRIDE, key, near);
          if (ROWS == 32u) { far = multiply(left + 16u * STAGE_STRIDE + 2u * step, STAGE_STRIDE, key, far); }
        }
      }
      staged_is_read = true;
      round += STAGED_KEYS;
      if (segment.start + round < span.end) {
        workgroupBarrier();
        stage(fetch_keys(round, t), t);
        workgroupBarrier();
      }
    }
  }
  subgroupMatrixStore<row_major>(&scores, 16u * warp, near, SCORE_STRIDE);
  if (ROWS == 32u) { subgroupMatrixStore<row_major>(&scores, 16u * SCORE_STRIDE + 16u * warp, far, SCORE_STRIDE); }
  if (TREE_BUFFERS == 1 && t < 4u * ROWS) { atomicStore(&named[t], 0u); }
  if (staged_is_read) { workgroupBarrier(); }
  stage(values, t);
  workgroupBarrier();
}

/** P V of a segment, to `scores`: part by part. */
fn add_up(
  tile: Tile, plan: Plan, num_entries: u32, segment: Segment, near_weights: vec4u, far_weights: vec4u, warp: u32, t: u32,
) {
  let part = warp / STEPS;
  let block = warp % STEPS;
  var near = Result();
  var far = Result();
  for (var e = 0u; e < num_entries; e++) {
    let entry = entry_at(plan, e);
    let span = span_of(plan, entry, segment);
    if (span.end <= span.first) { continue; }
    if (plan.simple == 0u) { find_places(tile, entry, span, segment, t); }
    fill_weights(entry.mask, near_weights, far_weights, t);
    workgroupBarrier();
    var round = first_round(span.first - segment.start);
    if (e > 0u) {
      stage(fetch_values(round, t), t);
      workgroupBarrier();
    }
    while (segment.start + round < span.end) {
      let next = round + STAGED_KEYS;
      var values = Fetched(vec4u(), vec4u(), vec4u(), vec4u());
      if (segment.start + next < span.end) { values = fetch_values(next, t); }
      let own = max(round, part * PART_TILES * 16u);
      if (part < PARTS && own < min(next, (part + 1u) * PART_TILES * 16u)) {
        let at = (own - round) * STAGE_STRIDE + 2u * block;
        let left = LEFT + own / 8u;
        let right = staged_values(at);
        near = product(left, WEIGHT_STRIDE, right, ROUND_TILES, near);
        if (ROWS == 32u) { far = product(left + 16u * WEIGHT_STRIDE, WEIGHT_STRIDE, right, ROUND_TILES, far); }
        if (STEPS > 8u + block) { far = product(left, WEIGHT_STRIDE, staged_values(at + 16u), ROUND_TILES, far); }
      }
      if (segment.start + next < span.end) {
        workgroupBarrier();
        stage(values, t);
        workgroupBarrier();
      }
      round = next;
    }
  }
  if (part < PARTS) {
    let at = part * HEAD_DIM + 16u * block;
    subgroupMatrixStore<row_major>(&scores, at, near, OUTPUT_STRIDE);
    if (ROWS == 32u) { subgroupMatrixStore<row_major>(&scores, 16u * OUTPUT_STRIDE + at, far, OUTPUT_STRIDE); }
    if (STEPS > 8u + block) { subgroupMatrixStore<row_major>(&scores, at + 128u, far, OUTPUT_STRIDE); }
  }
  workgroupBarrier();
}

/** Marks the tree keys from `start` on that each row's list names, and completes their scores. */
fn read_lists(tile: Tile, start: u32, t: u32) {
  let row = t / LIST_THREADS;
  let info = infos[row];
  let length = select(0u, path_len(info), has_tree(info, tile.split));
  for (var j = t % LIST_THREADS; j < length; j += LIST_THREADS) {
    let column = tables[info.w + j] - start;
    if (column < SEGMENT) {
      atomicOr(&named[row * 4u + column / 32u], 1u << (column % 32u));
      let at = row * SCORE_STRIDE + column;
      scores[at] = scores[at] * params.scale + bias_at(info, info.z + j);
    }
  }
}

/** Which of columns 8 · part … of the segment the row has, as bits. */
fn own_columns(tile: Tile, segment: Segment, row: u32, part: u32) -> u32 {
  if (segment.in_tree) { return atomicLoad(&named[row * 4u + part / 4u]) >> (part % 4u * 8u); }
  let first = segment.start + 8u * part;
  let end = own_end(infos[row], tile.split);
  return below(min(8u, max(end, first) - first));
}

/** Scores of a segment become weights of its keys, and their sum goes into the row's state; sixteen lanes have a row. */
fn weigh(tile: Tile, segment: Segment, row: u32, part: u32, state: vec2f) -> Weighed {
  let columns = own_columns(tile, segment, row, part);
  let at = row * SCORE_STRIDE + 8u * part;
  let scale = select(params.scale, 1.0, segment.in_tree);
  let has_a = (vec4u(columns) & vec4u(1u, 2u, 4u, 8u)) != vec4u();
  let has_b = (vec4u(columns) & vec4u(16u, 32u, 64u, 128u)) != vec4u();
  let raw_a = vec4f(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]) * scale;
  let raw_b = vec4f(scores[at + 4u], scores[at + 5u], scores[at + 6u], scores[at + 7u]) * scale;
  let score_a = select(vec4f(NO_SCORE), raw_a, has_a);
  let score_b = select(vec4f(NO_SCORE), raw_b, has_b);
  let most = max(score_a, score_b);
  var top = max(max(most.x, most.y), max(most.z, most.w));
  top = max(top, subgroupShuffleXor(top, 1u));
  top = max(top, subgroupShuffleXor(top, 2u));
  top = max(top, subgroupShuffleXor(top, 4u));
  top = max(top, subgroupShuffleXor(top, 8u));
  let exp_a = select(vec4f(), exp(score_a - top), has_a);
  let exp_b = select(vec4f(), exp(score_b - top), has_b);
  let weights = vec4u(
    pack2x16float(exp_a.xy), pack2x16float(exp_a.zw), pack2x16float(exp_b.xy), pack2x16float(exp_b.zw),
  );
  let rounded_a = vec4f(unpack2x16float(weights.x), unpack2x16float(weights.y));
  let rounded_b = vec4f(unpack2x16float(weights.z), unpack2x16float(weights.w));
  var sum = rounded_a.x + rounded_a.y + rounded_a.z + rounded_a.w + rounded_b.x + rounded_b.y + rounded_b.z + rounded_b.w;
  sum += subgroupShuffleXor(sum, 1u);
  sum += subgroupShuffleXor(sum, 2u);
  sum += subgroupShuffleXor(sum, 4u);
  sum += subgroupShuffleXor(sum, 8u);
  let new_top = max(state.x, top);
  let keep = exp(state.x - new_top);
  let add = exp(top - new_top);
  if (part == 0u) { factors[row] = vec2f(keep, add); }
  return Weighed(vec2f(new_top, fma(sum, add, state.y * keep)), weights);
}

/** Output quad `e` with the segment's folded in. */
fn folded(output: vec4f, e: u32) -> vec4f {
  let row = e / QUADS;
  if (row >= ROWS) { return output; }
  var sum = vec4f();
  for (var part = 0u; part < PARTS; part++) {
    let at = row * OUTPUT_STRIDE + part * HEAD_DIM + e % QUADS * 4u;
    sum += vec4f(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
  }
  return fma(sum, vec4f(factors[row].y), output * factors[row].x);
}

fn write_output(tile: Tile, output: vec4f, e: u32) {
  let row = e / QUADS;
  if (row >= tile.num_rows || (params.num_splits > 1u && tile.split >= num_parts(infos[row]))) { return; }
  let item = tile.first_item + row;
  let state = factors[row];
  if (e % QUADS == 0u) { write_stats(item / GROUP, head_of(tile, item), tile.split, state.x, state.y); }
  write_quad(item / GROUP, head_of(tile, item), tile.split, e % QUADS, output, state.y);
}
