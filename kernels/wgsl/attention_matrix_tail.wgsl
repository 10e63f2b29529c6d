// The tail of attention_matrix: the keys after a row's head, which are the row's own (its last linear keys, its tree path). The
// run's tails together are columns: linear positions linear_first … linear_end − 1, then tree keys 0 … tree_len − 1, in chunks of CHUNK.
//   S by matrices as in the head;  max over the row's own columns;  p = exp(scale · S + bias − max) in f32, 0 elsewhere
//   o = Σ p · v  by one fma a column, ascending, skipped where p is 0;  then the row's state folds o
// A row's own columns ascend with its positions (a path's tree keys ascend), maxima have no order, and others are skipped: the
// result depends on the row's keys by position alone, wherever they lie. Rows have their tail in the part after their head's last,
// or, in a pass of one split, right after the head.
const NO_COLUMN = 0xffffffffu;
/** Of each column of the chunk: its key's first quad. */
var<workgroup> columns: array<u32, CHUNK>;
var<workgroup> tail_tops: array<f32, ROWS>;
var<private> fresh: array<vec4f, ROUNDS * OWN_ROWS>;

fn attend_tail(first: u32, run: Run, run_row: u32, split: u32, kv_head: u32, warp: u32, t: u32) {
  let num_linear = run.linear_end - min(run.linear_end, run.linear_first);
  let num_columns = num_linear + run.tree_len;
  if (t < ROWS) { tail_tops[t] = NO_SCORE; }
  for (var start = 0u; start < num_columns; start += CHUNK) {
    tail_scores(start, first, run, run_row, kv_head, warp, t);
    mark(start, first, run, split, t);
    raise_tops(t);
  }
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < ROUNDS * OWN_ROWS; i++) { fresh[i] = vec4f(); }
  for (var start = 0u; start < num_columns; start += CHUNK) {
    if (num_columns > CHUNK) {
      tail_scores(start, first, run, run_row, kv_head, warp, t);
      mark(start, first, run, split, t);
    }
    for (var e = t; e < ROWS * CHUNK; e += WORKGROUP_SIZE) {
      let at = e / CHUNK * STRIDE + e % CHUNK;
      tile[at] = select(0.0, exp(tile[at] - tail_tops[e / CHUNK]), halves[at] != 0.0h);
    }
    workgroupBarrier();
    let count = min(CHUNK, num_columns - start);
    if (t < ROWS) {
      for (var c = 0u; c < count; c++) { total += tile[t * STRIDE + c]; }
    }
    for (var r = 0u; r < ROUNDS; r++) {
      let d = 64u * r + t % 16u * 4u;
      if (d < HEAD_DIM) {
        for (var c = 0u; c < count; c++) {
          let value = v_halves(columns[c], d);
          for (var i = 0u; i < OWN_ROWS; i++) {
            let weight = tile[(t / 16u + i * ROW_STEP) * STRIDE + c];
            if (weight != 0.0) { fresh[r * OWN_ROWS + i] = fma(value, vec4f(weight), fresh[r * OWN_ROWS + i]); }
          }
        }
      }
    }
  }
  if (t < ROWS) { fold_state(t, tail_tops[t], total); }
  workgroupBarrier();
  for (var r = 0u; r < ROUNDS; r++) {
    for (var i = 0u; i < OWN_ROWS; i++) {
      let factor = factors[t / 16u + i * ROW_STEP];
      acc[r * OWN_ROWS + i] = fma(fresh[r * OWN_ROWS + i], vec4f(factor.y), acc[r * OWN_ROWS + i] * factor.x);
    }
  }
  workgroupBarrier();
}

/** Unscaled scores of every row of the tile against columns `start …` in `tile`. Keys pass through workgroup memory, 64 dimensions at a time. */
fn tail_scores(start: u32, first: u32, run: Run, run_row: u32, kv_head: u32, warp: u32, t: u32) {
  let table = infos[first].x;
  let num_linear = run.linear_end - min(run.linear_end, run.linear_first);
  workgroupBarrier();
  if (t < CHUNK) {
    let c = start + t;
    var place = NO_COLUMN;
    if (c < num_linear) {
      place = cache_quad(table, run.linear_first + c, kv_head);
    } else if (c < num_linear + run.tree_len) {
      place = tree_quad(run_row, table, run.tree_base, c - num_linear, kv_head);
    }
    columns[t] = place;
  }
  let column = warp % 4u * 16u;
  let rows = warp / 4u * WARP_ROWS * 16u;
  var scores: array<Result, WARP_ROWS>;
  for (var b = 0u; b < WARP_ROWS; b++) { scores[b] = Result(); }
  for (var r = 0u; r < ROUNDS; r++) {
    workgroupBarrier();
    for (var e = t; e < CHUNK * 64u; e += WORKGROUP_SIZE) {
      let place = columns[e / 64u];
      let d = 64u * r + e % 64u;
      var value = 0.0h;
      if (place != NO_COLUMN && d < HEAD_DIM) { value = k_half(place, d); }
      halves[e / 64u * STRIDE + e % 64u] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < 4u; k++) {
      if (64u * r + 16u * k < HEAD_DIM) {
        let keys = subgroupMatrixLoad<Right, col_major>(&halves, column * STRIDE + 16u * k, STRIDE);
        for (var b = 0u; b < WARP_ROWS; b++) {
          let at = (rows + 16u * b) * Q_STRIDE + 64u * r + 16u * k;
          let query = subgroupMatrixLoad<Left, row_major>(&queries, at, Q_STRIDE);
          scores[b] = subgroupMatrixMultiplyAccumulate(query, keys, scores[b]);
        }
      }
    }
  }
  for (var b = 0u; b < WARP_ROWS; b++) {
    subgroupMatrixStore<row_major>(&tile, (rows + 16u * b) * STRIDE + column, scores[b], STRIDE);
  }
  workgroupBarrier();
}

/** Marks in `halves` the columns that a row has, and makes their scores final. */
fn mark(start: u32, first: u32, run: Run, split: u32, t: u32) {
  let num_linear = run.linear_end - min(run.linear_end, run.linear_first);
  for (var e = t; e < ROWS * STRIDE; e += WORKGROUP_SIZE) { halves[e] = 0.0h; }
  workgroupBarrier();
  let row = t % ROWS;
  let info = infos[row];
  if (row >= first && row < run.end && has_tail(info, split)) {
    for (var position = head_keys(info) + t / ROWS; position < num_keys(info); position += WORKGROUP_SIZE / ROWS) {
      var c = position - run.linear_first;
      if (position >= info.z) { c = num_linear + tables[info.w + position - info.z]; }
      if (c >= start && c - start < CHUNK) {
        let at = row * STRIDE + c - start;
        tile[at] = tile[at] * params.scale + bias_at(info, position);
        halves[at] = 1.0h;
      }
    }
  }
  workgroupBarrier();
}

/** Raises each row's maximum to that of its marked scores, four threads a row. */
fn raise_tops(t: u32) {
  let row = min(t / 4u, ROWS - 1u);
  var top = NO_SCORE;
  for (var c = t % 4u; c < CHUNK; c += 4u) {
    if (halves[row * STRIDE + c] != 0.0h) { top = max(top, tile[row * STRIDE + c]); }
  }
  top = max(top, subgroupShuffleXor(top, 1u));
  top = max(top, subgroupShuffleXor(top, 2u));
  if (t < 4u * ROWS && t % 4u == 0u) { tail_tops[row] = max(tail_tops[row], top); }
}
