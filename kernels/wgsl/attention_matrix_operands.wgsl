// What attention_matrix multiplies. On the left 16 rows of `halves`: queries or weights, of all rows or of an entry's. On the right
// keys of 16 positions, straight from storage where they lie one after another, or 16 dimensions of values, which are staged in
// workgroup memory: what a matrix wants side by side of them does not lie so in storage. Keys that are scattered are staged too.
const STEPS = HEAD_DIM / 16u;
/** Ranges of a segment's positions that are summed apart, so that small heads have work for more subgroups. */
const PARTS = max(1u, select(0u, 8u, STEPS == 1u) + select(0u, 4u, STEPS == 2u) + select(0u, 2u, STEPS == 3u || STEPS == 4u));
const PART_TILES = 8u / PARTS;
/** Tiles of a part that are staged together. */
const ROUND_TILES = min(STAGED_TILES, PART_TILES);

/** From row to row of weights, in vectors. */
const WEIGHT_STRIDE = SEGMENT / 8u + 1u;
/** Queries, and after them what is on the left of the product under way: queries or weights of an entry. */
const LEFT = ROWS * STAGE_STRIDE;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

/** 8 · 16 dimensions of 16 keys, or 16 dimensions of 8 · 16 values. All are on their way at once. */
struct Matrices { m0: Right, m1: Right, m2: Right, m3: Right, m4: Right, m5: Right, m6: Right, m7: Right }

/** A thread's share of STAGED_KEYS keys. */
struct Fetched { a: vec4u, b: vec4u, c: vec4u, d: vec4u }

var<workgroup> halves: array<vec4u, LEFT + ROWS * max(STAGE_STRIDE, WEIGHT_STRIDE)>;
/** Values, and keys that do not lie as matrices want them. */
var<workgroup> staged: array<vec4u, STAGED_KEYS * STAGE_STRIDE>;
/** Places of a segment's keys, as an entry has them. */
var<workgroup> places: array<u32, SEGMENT>;

fn load_queries(tile: Tile, t: u32) {
  for (var e = t; e < ROWS * KEY_VECTORS; e += WORKGROUP_SIZE) {
    let row = e / KEY_VECTORS;
    var packed = vec4u();
    if (row < tile.num_rows) {
      let item = tile.first_item + row;
      let at = io_index(item / GROUP, head_of(tile, item), ROW_HEADS) * QUADS + 2u * (e % KEY_VECTORS);
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
fn find_places(tile: Tile, entry: Entry, span: Span, segment: Segment, t: u32) {
  let at = segment.start + t;
  if (t >= SEGMENT) { return; }
  places[t] = NO_KEY;
  if (at >= span.first && at < span.end) { places[t] = place_of(tile, entry, segment.in_tree, at); }
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
