// As attention_portable, with subgroup matrices (f16 × f16 → f32, 16 × 16 × 16). One workgroup of 8 subgroups a (tile, KV head,
// split): a tile is ROWS (16 or 32) consecutive items, item = row · GROUP + head in the KV head's group, so that all rows of a tree
// and all heads of a group use each key and value that is loaded. Positions are done in segments of SEGMENT, from fresh state each:
//   S = Q Kᵀ   a subgroup has 16 positions; dimensions ascending, 16 at a time
//   P = f16(exp(scale · S + bias − max)), 0 for keys that a row does not have; total = Σ P, sixteen lanes a row
//   O = P V    a subgroup has 16 dimensions and one of PARTS ranges of the positions, ascending, 16 at a time; parts are then added
// and folded in ascending order as attention_merge folds splits. Keys go from storage straight into matrices where 16 of them lie one
// after another, others (paths of trees) through workgroup memory, and so do values: what a matrix wants side by side of them does
// not lie so. attention_matrix_entries
// says which keys are for which rows: entry by entry, rows that an entry is not for are zeros in Q and in P.
//
// Why a row's bits depend on its own keys alone. (1) An element of a matrix product depends on its row and its column only. (2) A
// row's keys stand in their places by position, wherever they lie: segment ⌊position / SEGMENT⌋, column position mod SEGMENT. (3) In
// columns that are not a row's, its P is 0, and so are its rows of Q and P in entries that are not its own: they add exactly 0 to
// its sums, since what is multiplied is some row's key or zero. Segments without keys of a row scale its state by exp(0) and add
// 0. (4) The order of all sums is fixed and ROWS does not enter it. Tile, grid, batch, pages and what is committed only say where
// things lie. With trees in buffers of their own (the operator), tree keys are further segments by tree index.
//
//   q  io_quad [numBatches, Q_HEADS, rows_per_batch, HEAD_DIM / 4];  the rest: attention_rows, attention_keys_matrix*, attention_result
// Matrices have names: drivers keep an array that a loop indexes in memory. Reference: reference/attention.ts
@group(0) @binding(5) var<storage, read> q: array<io_quad>;

const STEPS = HEAD_DIM / 16u;
/** Ranges of a segment's positions that are summed apart, so that small heads have work for more subgroups. */
const PARTS = max(1u, select(0u, 8u, STEPS == 1u) + select(0u, 4u, STEPS == 2u) + select(0u, 2u, STEPS == 3u || STEPS == 4u));
const PART_TILES = 8u / PARTS;
/** Tiles of a part that are staged together. */
const ROUND_TILES = min(STAGED_TILES, PART_TILES);

/** Rows of `scores` (f32), and of their halves (vectors): a little longer than they must be, or rows would meet in one bank. */
const SCORE_STRIDE = SEGMENT + 4u;
const WEIGHT_STRIDE = SEGMENT / 8u + 1u;
const OUTPUT_STRIDE = PARTS * HEAD_DIM + 4u;
/** Queries, and after them what is on the left of the product under way: queries or weights of an entry. */
const LEFT = ROWS * STAGE_STRIDE;
/** Threads that read a row's list. */
const LIST_THREADS = WORKGROUP_SIZE / ROWS;
/** Quads of the output that a thread owns: t, t + WORKGROUP_SIZE, … */
const OWN_QUADS = (ROWS * QUADS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;

var<workgroup> halves: array<vec4u, LEFT + ROWS * max(STAGE_STRIDE, WEIGHT_STRIDE)>;
/** Scores [ROWS, SEGMENT], then outputs [ROWS, PARTS, HEAD_DIM]. */
var<workgroup> scores: array<f32, ROWS * max(SCORE_STRIDE, OUTPUT_STRIDE)>;
/** Values, and keys that do not lie as matrices want them. */
var<workgroup> staged: array<vec4u, STAGED_KEYS * STAGE_STRIDE>;
/** Of each position of a segment, as an entry has it. */
var<workgroup> places: array<u32, SEGMENT>;
/** (keep, add) of each row's fold; at the end its maximum and total. */
var<workgroup> factors: array<vec2f, ROWS>;
/** Tree keys of a segment that each row's list names. */
var<workgroup> named: array<atomic<u32>, ROWS * 4u>;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

/** 8 · 16 dimensions of 16 keys, or 16 dimensions of 8 · 16 values. All are on their way at once. */
struct Matrices { m0: Right, m1: Right, m2: Right, m3: Right, m4: Right, m5: Right, m6: Right, m7: Right }

/** A thread's share of STAGED_KEYS keys. */
struct Fetched { a: vec4u, b: vec4u, c: vec4u, d: vec4u }

/** A row's state, (max, total), and the lane's 8 weights of the segment. */
struct Weighed { state: vec2f, weights: vec4u }

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(subgroup_id) warp: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let t = warp * SUBGROUP + lane;
  let tile = Tile(group.x * ROWS, min(ROWS, params.num_rows * GROUP - group.x * ROWS), group.y, group.z);
  let info = own_info(tile, lane);
  load_queries(tile, t);
  let plan = plan_tile(tile, info, t);
  var num_entries = 1u;
  if (plan.simple == 0u) { num_entries = find_entries(tile, info, t); }

  let part = warp / STEPS;
  let block = warp % STEPS;
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
    let start = select(split_start + s * SEGMENT, (s - num_cached) * SEGMENT, in_tree);
    var near = Result();
    var far = Result();
    var values = Fetched(vec4u(), vec4u(), vec4u(), vec4u());
    var staged_is_read = false;
    for (var e = 0u; e < num_entries; e++) {
      let entry = entry_at(plan, e);
      let span = span_of(plan, entry, start, in_tree);
      if (span.end <= span.first) { continue; }
      find_places(tile, entry, span, start, t);
      if (plan.simple == 0u) { fill_queries(entry.mask, t); }
      workgroupBarrier();
      let own = start + 16u * warp;
      let direct = own >= span.first && own < span.k_direct;
      let place = places[16u * warp];
      let keys = load_keys(place, 0u, direct);
      if (e == 0u) { values = fetch_values(first_round(span.first - start), t); }
      let staged_first = max(span.first, span.k_direct);
      var round = first_round(staged_first - start);
      if (staged_first < span.end) {
        stage(fetch_keys(round, t), t);
        workgroupBarrier();
      }
      let left = select(LEFT, 0u, plan.simple == 1u);
      if (direct) {
        near = product(left, STAGE_STRIDE, keys, min(STEPS, 8u), near);
        if (ROWS == 32u) { far = product(left + 16u * STAGE_STRIDE, STAGE_STRIDE, keys, min(STEPS, 8u), far); }
        if (STEPS > 8u) { near = product(left + 16u, STAGE_STRIDE, load_keys(place, 8u, true), max(STEPS, 8u) - 8u, near); }
      }
      while (staged_first < span.end && start + round < span.end) {
        if (own >= staged_first && own < span.end && 16u * warp / STAGED_KEYS == round / STAGED_KEYS) {
          let at = (16u * warp - round) * STAGE_STRIDE;
          for (var step = 0u; step < STEPS; step++) {
            let key = subgroupMatrixLoad<Right, col_major>(&staged, at + 2u * step, STAGE_STRIDE);
            near = multiply(left + 2u * step, STAGE_STRIDE, key, near);
            if (ROWS == 32u) { far = multiply(left + 16u * STAGE_STRIDE + 2u * step, STAGE_STRIDE, key, far); }
          }
        }
        staged_is_read = true;
        round += STAGED_KEYS;
        if (start + round < span.end) {
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
    if (in_tree) {
      read_lists(tile, start, t);
      workgroupBarrier();
    }
    let near_weights = weigh(tile, start, in_tree, t / 16u, t % 16u, near_row);
    near_row = near_weights.state;
    var far_weights = near_weights;
    if (ROWS == 32u) {
      far_weights = weigh(tile, start, in_tree, 16u + t / 16u, t % 16u, far_row);
      far_row = far_weights.state;
    }

    near = Result();
    far = Result();
    for (var e = 0u; e < num_entries; e++) {
      let entry = entry_at(plan, e);
      let span = span_of(plan, entry, start, in_tree);
      if (span.end <= span.first) { continue; }
      if (plan.simple == 0u) { find_places(tile, entry, span, start, t); }
      fill_weights(entry.mask, near_weights.weights, far_weights.weights, t);
      workgroupBarrier();
      var round = first_round(span.first - start);
      if (e > 0u) {
        stage(fetch_values(round, t), t);
        workgroupBarrier();
      }
      while (start + round < span.end) {
        let next = round + STAGED_KEYS;
        if (start + next < span.end) { values = fetch_values(next, t); }
        let own = max(round, part * PART_TILES * 16u);
        if (part < PARTS && own < min(next, (part + 1u) * PART_TILES * 16u)) {
          let at = (own - round) * STAGE_STRIDE + 2u * block;
          let left = LEFT + own / 8u;
          let right = staged_values(at);
          near = product(left, WEIGHT_STRIDE, right, ROUND_TILES, near);
          if (ROWS == 32u) { far = product(left + 16u * WEIGHT_STRIDE, WEIGHT_STRIDE, right, ROUND_TILES, far); }
          if (STEPS > 8u + block) { far = product(left, WEIGHT_STRIDE, staged_values(at + 16u), ROUND_TILES, far); }
        }
        if (start + next < span.end) {
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

fn load_queries(tile: Tile, t: u32) {
  for (var e = t; e < ROWS * KEY_VECTORS; e += WORKGROUP_SIZE) {
    let row = e / KEY_VECTORS;
    var packed = vec4u();
    if (row < tile.num_rows) {
      let item = tile.first_item + row;
      let at = io_index(item / GROUP, head_of(tile, item), Q_HEADS) * QUADS + 2u * (e % KEY_VECTORS);
      packed = vec4u(halves_of(from_io(q[at])), halves_of(from_io(q[at + 1u])));
    }
    halves[row * STAGE_STRIDE + e % KEY_VECTORS] = packed;
  }
}

fn halves_of(values: vec4f) -> vec2u {
  let held = clamp(values, vec4f(-65504.0), vec4f(65504.0));
  return vec2u(pack2x16float(held.xy), pack2x16float(held.zw));
}

/** Queries of the rows of `mask`, zeros for others, go to the left. */
fn fill_queries(mask: u32, t: u32) {
  for (var e = t; e < ROWS * KEY_VECTORS; e += WORKGROUP_SIZE) {
    let at = e / KEY_VECTORS * STAGE_STRIDE + e % KEY_VECTORS;
    halves[LEFT + at] = select(vec4u(), halves[at], has_bit(mask, e / KEY_VECTORS));
  }
}

/** The same of weights: the thread has 8 of row t / 16, and 8 of the row 16 further on. */
fn fill_weights(mask: u32, near: vec4u, far: vec4u, t: u32) {
  let row = t / 16u;
  let at = LEFT + row * WEIGHT_STRIDE + t % 16u;
  halves[at] = select(vec4u(), near, has_bit(mask, row));
  if (ROWS == 32u) { halves[at + 16u * WEIGHT_STRIDE] = select(vec4u(), far, has_bit(mask, 16u + row)); }
}

fn no_matrices() -> Matrices {
  return Matrices(Right(), Right(), Right(), Right(), Right(), Right(), Right(), Right());
}

fn key_block(place: u32, block: u32) -> Right {
  var keys = Right();
  if (block < STEPS) { keys = k_matrix(place, block); }
  return keys;
}

fn load_keys(place: u32, first: u32, exist: bool) -> Matrices {
  var keys = no_matrices();
  if (exist) {
    keys = Matrices(
      key_block(place, first), key_block(place, first + 1u), key_block(place, first + 2u), key_block(place, first + 3u),
      key_block(place, first + 4u), key_block(place, first + 5u), key_block(place, first + 6u), key_block(place, first + 7u),
    );
  }
  return keys;
}

fn staged_value(at: u32, n: u32) -> Right {
  var values = Right();
  if (n < ROUND_TILES) { values = subgroupMatrixLoad<Right, row_major>(&staged, at + n * 16u * STAGE_STRIDE, STAGE_STRIDE); }
  return values;
}

/** 16 dimensions of the staged tiles from vector `at` on. */
fn staged_values(at: u32) -> Matrices {
  return Matrices(
    staged_value(at, 0u), staged_value(at, 1u), staged_value(at, 2u), staged_value(at, 3u),
    staged_value(at, 4u), staged_value(at, 5u), staged_value(at, 6u), staged_value(at, 7u),
  );
}

/** sum + left · right, where the left one is 16 rows in `halves`. */
fn multiply(left: u32, stride: u32, right: Right, sum: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(subgroupMatrixLoad<Left, row_major>(&halves, left, stride), right, sum);
}

/** sum + left · right for the first `used` matrices, in order: 16 columns of the left for each. */
fn product(left: u32, stride: u32, right: Matrices, used: u32, start: Result) -> Result {
  var sum = start;
  if (used > 0u) { sum = multiply(left, stride, right.m0, sum); }
  if (used > 1u) { sum = multiply(left + 2u, stride, right.m1, sum); }
  if (used > 2u) { sum = multiply(left + 4u, stride, right.m2, sum); }
  if (used > 3u) { sum = multiply(left + 6u, stride, right.m3, sum); }
  if (used > 4u) { sum = multiply(left + 8u, stride, right.m4, sum); }
  if (used > 5u) { sum = multiply(left + 10u, stride, right.m5, sum); }
  if (used > 6u) { sum = multiply(left + 12u, stride, right.m6, sum); }
  if (used > 7u) { sum = multiply(left + 14u, stride, right.m7, sum); }
  return sum;
}

/** Where the keys and values of a segment lie that an entry has. */
fn find_places(tile: Tile, entry: Entry, span: Span, start: u32, t: u32) {
  let at = start + t;
  if (t >= SEGMENT) { return; }
  places[t] = NO_KEY;
  if (at >= span.first && at < span.end) { places[t] = place_of(tile, entry, span, at); }
}

/** The first column of the STAGED_KEYS that are staged together with this one. */
fn first_round(column: u32) -> u32 { return column / STAGED_KEYS * STAGED_KEYS; }

fn place_in(round: u32, vector: u32) -> u32 {
  if (STAGED_KEYS * KEY_VECTORS % WORKGROUP_SIZE != 0u && vector >= STAGED_KEYS * KEY_VECTORS) { return NO_KEY; }
  return places[round + vector / KEY_VECTORS];
}

fn key_vector(round: u32, vector: u32) -> vec4u { return k_vector(place_in(round, vector), vector % KEY_VECTORS); }
fn value_vector(round: u32, vector: u32) -> vec4u { return v_vector(place_in(round, vector), vector % KEY_VECTORS); }

fn fetch_keys(round: u32, t: u32) -> Fetched {
  var keys = Fetched(key_vector(round, t), vec4u(), vec4u(), vec4u());
  if (LOADS > 1u) { keys.b = key_vector(round, t + WORKGROUP_SIZE); }
  if (LOADS > 2u) { keys.c = key_vector(round, t + 2u * WORKGROUP_SIZE); }
  if (LOADS > 3u) { keys.d = key_vector(round, t + 3u * WORKGROUP_SIZE); }
  return keys;
}

fn fetch_values(round: u32, t: u32) -> Fetched {
  var values = Fetched(value_vector(round, t), vec4u(), vec4u(), vec4u());
  if (LOADS > 1u) { values.b = value_vector(round, t + WORKGROUP_SIZE); }
  if (LOADS > 2u) { values.c = value_vector(round, t + 2u * WORKGROUP_SIZE); }
  if (LOADS > 3u) { values.d = value_vector(round, t + 3u * WORKGROUP_SIZE); }
  return values;
}

fn stage(fetched: Fetched, t: u32) {
  stage_vector(fetched.a, t);
  if (LOADS > 1u) { stage_vector(fetched.b, t + WORKGROUP_SIZE); }
  if (LOADS > 2u) { stage_vector(fetched.c, t + 2u * WORKGROUP_SIZE); }
  if (LOADS > 3u) { stage_vector(fetched.d, t + 3u * WORKGROUP_SIZE); }
}

fn stage_vector(fetched: vec4u, vector: u32) {
  if (vector < STAGED_KEYS * KEY_VECTORS) { staged[vector / KEY_VECTORS * STAGE_STRIDE + vector % KEY_VECTORS] = fetched; }
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
fn own_columns(tile: Tile, start: u32, in_tree: bool, row: u32, part: u32) -> u32 {
  if (in_tree) { return atomicLoad(&named[row * 4u + part / 4u]) >> (part % 4u * 8u); }
  let first = start + 8u * part;
  let end = own_end(infos[row], tile.split);
  return below(min(8u, max(end, first) - first));
}

/** Scores of a segment become weights of its keys, and their sum goes into the row's state; sixteen lanes have a row. */
fn weigh(tile: Tile, start: u32, in_tree: bool, row: u32, part: u32, state: vec2f) -> Weighed {
  let columns = own_columns(tile, start, in_tree, row, part);
  let at = row * SCORE_STRIDE + 8u * part;
  let scale = select(params.scale, 1.0, in_tree);
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
