// As attention_portable, with subgroup matrices (f16 × f16 → f32, 16 × 16 × 16). One workgroup a (tile, KV head, split): a tile is
// ROWS consecutive items, item = row · GROUP + head in the KV head's group, so that all rows of a tree and all heads of a group
// read each key and value once. Runs of rows of one table (one sequence) are done in turn.
//
// A row's first head_keys (attention_rows), a multiple of 16, go by chunks of CHUNK absolute positions:
//   S = Q Kᵀ   by matrices, dimensions ascending;  P = f16(exp(scale · S − max of the chunk)), 0 beyond the row's own keys
//   O = P V    by matrices from zero, positions ascending;  then the row's state folds O as parts fold: acc · keep + O · add
// The rest of its keys, where rows of a tree part, are attention_matrix_tail's.
//
// Why a row's bits depend on its own keys alone. (1) An element of a matrix product depends on its row and column only, never on
// what the tile's other rows or columns hold. (2) Chunks, splits and the end of the head follow from the row's number of keys;
// keys of other rows have P = 0 and add exactly 0, and lie before some row's end, so that they hold numbers. (3) The head
// ends WINDOW keys before the row does, so that keys that may still lie in a tree are never in it: committed or not, a key takes
// the same road. (4) A tile's state of rows that have no key here is kept · exp(0) + 0. (5) All sums of a row are taken in an
// order that ROWS does not enter. Pages, tables, grid and tile only say where things lie.
//
//   q  io_quad [numBatches, Q_HEADS, rows_per_batch, HEAD_DIM / 4];  the rest: attention_rows, attention_keys_matrix*, attention_result
// Warp w of a tile product [ROWS, 64] computes columns 16 (w % 4) … and WARP_ROWS blocks of 16 rows. Thread t of a fold or of the
// output owns quad t % 16 of each 64 dimensions, and rows t / 16, t / 16 + ROW_STEP, …. Reference: reference/attention.ts
@group(0) @binding(5) var<storage, read> q: array<io_quad>;

const SUBGROUP = 32u;
const CHUNK = 64u;
/** Of a row of workgroup memory: 8 more than its elements, or a tile's rows would meet in one bank. */
const STRIDE = 72u;
const Q_STRIDE = HEAD_DIM + 8u;
const KEY_STRIDE = select(NUM_KV_HEADS * HEAD_DIM, HEAD_DIM, HEAD_MAJOR == 1);
const GROUP = NUM_HEADS / NUM_KV_HEADS;
const STEPS = HEAD_DIM / 16u;
const ROUNDS = (HEAD_DIM + 63u) / 64u;
const ROW_STEP = WORKGROUP_SIZE / 16u;
const OWN_ROWS = ROWS / ROW_STEP;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

/** A run of the tile's rows with one table, and what its rows want of this split. */
struct Run {
  end: u32,         // tile row after the run
  head_end: u32,    // position after the last one that a row's head has here, 0 for none
  linear_first: u32, // linear positions that tails have here; first is 0xffffffff where no row has its tail here
  linear_end: u32,
  tree_base: u32,   // linear length of rows with a tree path
  tree_len: u32,    // tree keys that paths name
}

var<workgroup> tile: array<f32, ROWS * STRIDE>;
/** Weights of the head; of the tail, keys on their way into matrices, then marks of allowed keys. */
var<workgroup> halves: array<f16, CHUNK * STRIDE>;
var<workgroup> queries: array<f16, ROWS * Q_STRIDE>;
var<workgroup> infos: array<vec4u, ROWS>;
/** Position after the row's last head key in this split, 0 for none. */
var<workgroup> head_ends: array<u32, ROWS>;
var<workgroup> tops: array<f32, ROWS>;
var<workgroup> totals: array<f32, ROWS>;
/** (keep, add) of the fold under way. */
var<workgroup> factors: array<vec2f, ROWS>;
var<workgroup> bounds: array<atomic<u32>, 6>;
var<workgroup> run_here: Run;

var<private> acc: array<vec4f, ROUNDS * OWN_ROWS>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(subgroup_id) warp: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let t = warp * SUBGROUP + lane;
  let first_item = group.x * ROWS;
  let kv_head = group.y;
  let split = group.z;
  let num_rows_here = min(ROWS, params.num_rows * GROUP - first_item);
  if (t < ROWS) { load_row(t, first_item + t, kv_head, split); }
  load_queries(t, first_item, kv_head);
  workgroupBarrier();

  var first = 0u;
  while (first < num_rows_here) {
    let run = find_run(first, split, t);
    let start = split * params.split_size;
    if (start < run.head_end) { attend_head(first, run, start, kv_head, warp, t); }
    if (run.linear_first != 0xffffffffu) { attend_tail(first, run, (first_item + first) / GROUP, split, kv_head, warp, t); }
    first = run.end;
  }

  if (t < num_rows_here && has_part(infos[t], split)) {
    let item = first_item + t;
    write_stats(item / GROUP, kv_head * GROUP + item % GROUP, split, tops[t], totals[t]);
  }
  for (var i = 0u; i < OWN_ROWS; i++) {
    let row = t / 16u + i * ROW_STEP;
    let item = first_item + row;
    if (row < num_rows_here && has_part(infos[row], split)) {
      for (var r = 0u; r < ROUNDS; r++) {
        let quad = r * 16u + t % 16u;
        if (quad < QUADS) {
          write_quad(item / GROUP, kv_head * GROUP + item % GROUP, split, quad, acc[r * OWN_ROWS + i], totals[row]);
        }
      }
    }
  }
}

fn has_part(info: vec4u, split: u32) -> bool { return params.num_splits == 1u || split < num_parts(info); }

fn has_tail(info: vec4u, split: u32) -> bool {
  return head_keys(info) < num_keys(info) && (params.num_splits == 1u || split == head_parts(info));
}

fn load_row(row: u32, item: u32, kv_head: u32, split: u32) {
  var info = vec4u(0xffffffffu, 0xffffffffu, 0u, 0u);
  if (item / GROUP < params.num_rows) { info = info_of(item / GROUP, kv_head * GROUP + item % GROUP); }
  infos[row] = info;
  head_ends[row] = select(0u, min(head_keys(info), (split + 1u) * params.split_size), split < head_parts(info));
  tops[row] = NO_SCORE;
  totals[row] = 0.0;
}

fn load_queries(t: u32, first_item: u32, kv_head: u32) {
  for (var e = t; e < ROWS * QUADS; e += WORKGROUP_SIZE) {
    let item = first_item + e / QUADS;
    var values = vec4f();
    if (item / GROUP < params.num_rows) {
      values = from_io(q[io_index(item / GROUP, kv_head * GROUP + item % GROUP, Q_HEADS) * QUADS + e % QUADS]);
    }
    let at = e / QUADS * Q_STRIDE + e % QUADS * 4u;
    queries[at] = f16(values.x);
    queries[at + 1u] = f16(values.y);
    queries[at + 2u] = f16(values.z);
    queries[at + 3u] = f16(values.w);
  }
}

/** The run that begins with tile row `first`. */
fn find_run(first: u32, split: u32, t: u32) -> Run {
  if (t < 6u) { atomicStore(&bounds[t], select(0u, 0xffffffffu, t == 0u || t == 2u)); }
  workgroupBarrier();
  if (t < ROWS && t > first && infos[t].x != infos[first].x) { atomicMin(&bounds[0], t); }
  workgroupBarrier();
  if (t >= first && t < min(ROWS, atomicLoad(&bounds[0]))) {
    let info = infos[t];
    atomicMax(&bounds[1], head_ends[t]);
    if (has_tail(info, split)) {
      atomicMin(&bounds[2], head_keys(info));
      atomicMax(&bounds[3], min(info.z, num_keys(info)));
      if (info.z < num_keys(info)) {
        atomicMax(&bounds[4], info.z);
        atomicMax(&bounds[5], tables[info.w + info.y - info.z] + 1u);
      }
    }
  }
  workgroupBarrier();
  if (t == 0u) {
    run_here = Run(
      min(ROWS, atomicLoad(&bounds[0])), atomicLoad(&bounds[1]), atomicLoad(&bounds[2]),
      atomicLoad(&bounds[3]), atomicLoad(&bounds[4]), atomicLoad(&bounds[5]),
    );
  }
  return workgroupUniformLoad(&run_here);
}

/** Folds the head keys `first_key … run.head_end − 1` into the states of the run's rows. */
fn attend_head(first: u32, run: Run, first_key: u32, kv_head: u32, warp: u32, t: u32) {
  let table = infos[first].x;
  let column = warp % 4u * 16u;
  let rows = warp / 4u * WARP_ROWS * 16u;
  var keys: array<Right, STEPS>;
  var values: array<Right, ROUNDS * 4u>;
  // Keys of the next chunk and values of this one are on their way while weights and folds are computed.
  if (first_key + column < run.head_end) {
    let at = 4u * cache_quad(table, first_key + column, kv_head);
    for (var k = 0u; k < STEPS; k++) { keys[k] = subgroupMatrixLoad<Right, col_major>(&k_cache, at + 16u * k, KEY_STRIDE); }
  }
  for (var start = first_key; start < run.head_end; start += CHUNK) {
    if (start + column < run.head_end) {
      for (var b = 0u; b < WARP_ROWS; b++) {
        let row = rows + 16u * b;
        var scores = Result();
        for (var k = 0u; k < STEPS; k++) {
          let query = subgroupMatrixLoad<Left, row_major>(&queries, row * Q_STRIDE + 16u * k, Q_STRIDE);
          scores = subgroupMatrixMultiplyAccumulate(query, keys[k], scores);
        }
        subgroupMatrixStore<row_major>(&tile, row * STRIDE + column, scores, STRIDE);
      }
    }
    for (var k = 0u; k < 4u; k++) {
      if (start + 16u * k < run.head_end) {
        let at = 4u * cache_quad(table, start + 16u * k, kv_head) + column;
        for (var r = 0u; r < ROUNDS; r++) {
          if (64u * r + column < HEAD_DIM) {
            values[4u * r + k] = subgroupMatrixLoad<Right, row_major>(&v_cache, at + 64u * r, KEY_STRIDE);
          }
        }
      }
    }
    workgroupBarrier();
    weigh(first, run.end, start, t);
    workgroupBarrier();
    let next = start + CHUNK + column;
    if (next < run.head_end) {
      let at = 4u * cache_quad(table, next, kv_head);
      for (var k = 0u; k < STEPS; k++) { keys[k] = subgroupMatrixLoad<Right, col_major>(&k_cache, at + 16u * k, KEY_STRIDE); }
    }
    for (var r = 0u; r < ROUNDS; r++) {
      if (64u * r + column < HEAD_DIM) {
        for (var b = 0u; b < WARP_ROWS; b++) {
          let row = rows + 16u * b;
          var sums = Result();
          for (var k = 0u; k < 4u; k++) {
            if (start + 16u * k < run.head_end) {
              let weights = subgroupMatrixLoad<Left, row_major>(&halves, row * STRIDE + 16u * k, STRIDE);
              sums = subgroupMatrixMultiplyAccumulate(weights, values[4u * r + k], sums);
            }
          }
          subgroupMatrixStore<row_major>(&tile, row * STRIDE + column, sums, STRIDE);
        }
      }
      workgroupBarrier();
      for (var i = 0u; i < OWN_ROWS; i++) {
        let row = t / 16u + i * ROW_STEP;
        let at = row * STRIDE + t % 16u * 4u;
        let sums = vec4f(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
        acc[r * OWN_ROWS + i] = fma(sums, vec4f(factors[row].y), acc[r * OWN_ROWS + i] * factors[row].x);
      }
      workgroupBarrier();
    }
  }
}

/** Scores in `tile` become weights in `halves`, four threads a row; tops, totals and factors move on. Rows outside the run: weight 0. */
fn weigh(first: u32, end: u32, start: u32, t: u32) {
  let row = min(t / 4u, ROWS - 1u);
  let owns = t < 4u * ROWS;
  let in_run = owns && row >= first && row < end;
  let count = select(0u, min(head_ends[row] - min(head_ends[row], start), CHUNK), in_run);
  var top = NO_SCORE;
  for (var j = t % 4u; j < count; j += 4u) { top = max(top, tile[row * STRIDE + j] * params.scale); }
  top = max(top, subgroupShuffleXor(top, 1u));
  top = max(top, subgroupShuffleXor(top, 2u));
  var total = 0.0;
  if (owns) {
    for (var j = t % 4u; j < CHUNK; j += 4u) {
      var weight = 0.0h;
      if (j < count) { weight = f16(exp(tile[row * STRIDE + j] * params.scale - top)); }
      halves[row * STRIDE + j] = weight;
      total += f32(weight);
    }
  }
  total += subgroupShuffleXor(total, 1u);
  total += subgroupShuffleXor(total, 2u);
  if (owns && t % 4u == 0u) { fold_state(row, top, total); }
}

/** Folds a fresh part's maximum and sum into a row's state; `factors` are for its output. */
fn fold_state(row: u32, top: f32, total: f32) {
  let new_top = max(tops[row], top);
  let keep = exp(tops[row] - new_top);
  let add = exp(top - new_top);
  factors[row] = vec2f(keep, add);
  totals[row] = fma(total, add, totals[row] * keep);
  tops[row] = new_top;
}
