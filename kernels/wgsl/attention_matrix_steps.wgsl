// The steps of attention_matrix: which keys a workgroup stages, in what order, and which rows take part.
// Rows of one table, one after another in the tile, are a run; runs are done in turn. A run's keys come CHUNK positions at a time:
//   STEP_TABLE  all rows have the same keys at these positions, found through the table
//   STEP_PATH   positions where trees begin: the keys of one row, the leader, for it and for all rows whose path is the beginning of
//               its own; as many steps as it takes until every row has been served
//   STEP_TREE   only with trees in buffers of their own: CHUNK tree keys in order, each row has those that its list names. A row's
//               tree belongs to its last split
const SUBGROUP = 32u;
const CHUNK = 32u;
const GROUP = NUM_HEADS / NUM_KV_HEADS;
/** 16-byte vectors of a key, and from key to key in workgroup memory, where they must not meet in one bank. */
const KEY_VECTORS = HEAD_DIM / 8u;
const STAGE_STRIDE = KEY_VECTORS + 1u;
/** Vectors that a thread fetches of a step's keys, at most 16. */
const LOADS = (CHUNK * KEY_VECTORS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;

const STEP_NONE = 0u;
const STEP_TABLE = 1u;
const STEP_PATH = 2u;
const STEP_TREE = 3u;

struct Tile { first_item: u32, num_rows: u32, kv_head: u32, split: u32 }

struct Run {
  first: u32,     // tile row
  end: u32,
  shared_end: u32, // below this position all rows have the same keys
  last: u32,      // position after the last one that a row has in this split, 0 for none
  tree_len: u32,  // tree keys that rows name whose tree belongs to this split
}

struct Step { kind: u32, start: u32, leader: u32, run: Run }

/** Which columns of a step a row has, and where the biases of its tree keys begin. */
struct Own { columns: u32, bias_at: u32 }

/** A thread's share of CHUNK keys. */
struct Fetched {
  v0: vec4u, v1: vec4u, v2: vec4u, v3: vec4u,
  v4: vec4u, v5: vec4u, v6: vec4u, v7: vec4u,
  v8: vec4u, v9: vec4u, v10: vec4u, v11: vec4u,
  v12: vec4u, v13: vec4u, v14: vec4u, v15: vec4u,
}

/** Keys of a step, then its values; at first the queries. */
var<workgroup> staged: array<vec4u, 2u * CHUNK * STAGE_STRIDE>;
var<workgroup> infos: array<vec4u, ROWS>;
var<workgroup> bounds: array<atomic<u32>, 4>;
var<workgroup> found: Run;
var<workgroup> leaders: array<u32, WARPS>;
/** The lane's row has taken part in a path step of these positions. */
var<private> served: bool;

fn head_of(tile: Tile, item: u32) -> u32 { return tile.kv_head * GROUP + item % GROUP; }

fn load_rows(tile: Tile, t: u32) {
  if (t >= ROWS) { return; }
  let item = tile.first_item + t;
  // Beyond the last row there is a row without keys.
  var info = vec4u(0xffffffffu, 0xffffffffu, 0u, 0u);
  if (t < tile.num_rows) { info = info_of(item / GROUP, head_of(tile, item)); }
  infos[t] = info;
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
    staged[row * STAGE_STRIDE + e % KEY_VECTORS] = packed;
  }
}

fn halves_of(values: vec4f) -> vec2u {
  let held = clamp(values, vec4f(-65504.0), vec4f(65504.0));
  return vec2u(pack2x16float(held.xy), pack2x16float(held.zw));
}

/** Position after the row's last one in this split, 0 for none. */
fn own_end(info: vec4u, split: u32) -> u32 {
  let end = min(split_keys(info), (split + 1u) * params.split_size);
  return select(0u, end, end > split * params.split_size);
}

fn has_tree(info: vec4u, split: u32) -> bool {
  return TREE_BUFFERS == 1 && info.z < num_keys(info) && split + 1u == num_parts(info);
}

/** Length of the row's list. */
fn path_len(info: vec4u) -> u32 { return num_keys(info) - min(info.z, num_keys(info)); }

/** The step after `step`; the first one after `before_all`. */
fn next_step(tile: Tile, step: Step, t: u32) -> Step {
  var run = step.run;
  var start = step.start + CHUNK;
  if (step.kind == STEP_PATH) {
    let leader = find_leader(tile, run, step.start, t);
    if (leader < ROWS) { return Step(STEP_PATH, step.start, leader, run); }
  }
  if (step.kind == STEP_TREE || start >= run.last) {
    if (step.kind != STEP_TREE) { start = 0u; }
    if (start < run.tree_len) { return Step(STEP_TREE, start, 0u, run); }
    loop {
      if (run.end >= tile.num_rows) { return Step(STEP_NONE, 0u, 0u, run); }
      run = find_run(tile, run.end, t);
      if (run.last > 0u || run.tree_len > 0u) { break; }
    }
    if (run.last == 0u) { return Step(STEP_TREE, 0u, 0u, run); }
    start = tile.split * params.split_size;
  }
  if (start + CHUNK <= run.shared_end) { return Step(STEP_TABLE, start, run.first, run); }
  served = false;
  return Step(STEP_PATH, start, find_leader(tile, run, start, t), run);
}

fn before_all() -> Step { return Step(STEP_NONE, 0u, 0u, Run(0u, 0u, 0u, 0u, 0u)); }

fn find_run(tile: Tile, first: u32, t: u32) -> Run {
  if (t < 4u) { atomicStore(&bounds[t], select(0u, 0xffffffffu, t < 2u)); }
  workgroupBarrier();
  if (t > first && t < tile.num_rows && infos[t].x != infos[first].x) { atomicMin(&bounds[0], t); }
  workgroupBarrier();
  if (t >= first && t < min(tile.num_rows, atomicLoad(&bounds[0]))) {
    let info = infos[t];
    if (TREE_BUFFERS == 0 && info.z < num_keys(info)) { atomicMin(&bounds[1], info.z); }
    atomicMax(&bounds[2], own_end(info, tile.split));
    if (has_tree(info, tile.split)) { atomicMax(&bounds[3], tables[info.w + path_len(info) - 1u] + 1u); }
  }
  workgroupBarrier();
  if (t == 0u) {
    let end = min(tile.num_rows, atomicLoad(&bounds[0]));
    found = Run(first, end, atomicLoad(&bounds[1]), atomicLoad(&bounds[2]), atomicLoad(&bounds[3]));
  }
  return workgroupUniformLoad(&found);
}

/** Of the rows that are still to be served from position `start` on, the one with most keys; ROWS if there is none. */
fn find_leader(tile: Tile, run: Run, start: u32, t: u32) -> u32 {
  let row = t / 2u;
  let waits = row >= run.first && row < run.end && !served && own_end(infos[row], tile.split) > start;
  let best = subgroupMax(select(0u, num_keys(infos[row]) * 64u + 64u - row, waits));
  if (t % SUBGROUP == 0u) { leaders[t / SUBGROUP] = best; }
  let all = workgroupUniformLoad(&leaders);
  var most = 0u;
  for (var w = 0u; w < WARPS; w++) { most = max(most, all[w]); }
  return select((64u - most % 64u) % 64u, ROWS, most == 0u);
}

/** Whether the keys of `info` are the first ones of the leader's. In a tree equal nodes have equal ancestors. */
fn follows(info: vec4u, leader: vec4u) -> bool {
  let length = path_len(info);
  if (length == 0u) { return path_len(leader) == 0u || num_keys(info) <= leader.z; }
  if (path_len(leader) < length || info.z != leader.z) { return false; }
  return tables[info.w + length - 1u] == tables[leader.w + length - 1u];
}

fn own_columns(tile: Tile, step: Step, row: u32, part: u32) -> Own {
  let info = infos[row];
  let in_run = row >= step.run.first && row < step.run.end;
  if (step.kind == STEP_TREE) {
    let length = select(0u, path_len(info), in_run && has_tree(info, tile.split));
    var columns = 0u;
    var before = 0u;
    for (var j = part; j < length; j += 2u) {
      let key = tables[info.w + j];
      if (key < step.start) { before++; }
      else if (key - step.start < CHUNK) { columns |= 1u << (key - step.start); }
    }
    columns |= subgroupShuffleXor(columns, 1u);
    before += subgroupShuffleXor(before, 1u);
    return Own(columns, info.w + length + before);
  }
  let end = own_end(info, tile.split);
  var count = select(0u, min(end - min(end, step.start), CHUNK), in_run);
  if (step.kind == STEP_PATH) {
    if (served || !follows(info, infos[step.leader])) { count = 0u; }
    served = served || count > 0u;
  }
  return Own(select((1u << count) - 1u, 0xffffffffu, count == CHUNK), 0u);
}

fn bias_of(own: Own, column: u32) -> f32 {
  if (HAS_BIAS == 0 || own.bias_at == 0u) { return 0.0; }
  return bitcast<f32>(tables[own.bias_at + countOneBits(own.columns & ((1u << column) - 1u))]);
}

/** Where the lane's key of the step lies: lane i's is the i-th. */
fn place_of(tile: Tile, step: Step, lane: u32) -> u32 {
  let run_row = (tile.first_item + step.run.first) / GROUP;
  let info = infos[step.leader];
  let at = step.start + lane;
  if (step.kind == STEP_TREE && at < step.run.tree_len) {
    return tree_quad(run_row, infos[step.run.first].x, 0u, at, tile.kv_head);
  }
  if (step.kind == STEP_TABLE && at < step.run.last) { return cache_quad(info.x, at, tile.kv_head); }
  if (step.kind == STEP_PATH && at < own_end(info, tile.split)) { return key_quad(run_row, info, at, tile.kv_head); }
  return NO_KEY;
}

fn key_at(place: u32, vector: u32) -> vec4u {
  return k_vector(subgroupShuffle(place, min(vector / KEY_VECTORS, CHUNK - 1u)), vector % KEY_VECTORS);
}

fn value_at(place: u32, vector: u32) -> vec4u {
  return v_vector(subgroupShuffle(place, min(vector / KEY_VECTORS, CHUNK - 1u)), vector % KEY_VECTORS);
}

fn stage_at(fetched: vec4u, first_key: u32, vector: u32) {
  if (vector < CHUNK * KEY_VECTORS) {
    staged[(first_key + vector / KEY_VECTORS) * STAGE_STRIDE + vector % KEY_VECTORS] = fetched;
  }
}

fn fetch_keys(place: u32, t: u32) -> Fetched {
  var f: Fetched;
  f.v0 = key_at(place, t);
  if (LOADS > 1u) { f.v1 = key_at(place, t + 1u * WORKGROUP_SIZE); }
  if (LOADS > 2u) { f.v2 = key_at(place, t + 2u * WORKGROUP_SIZE); }
  if (LOADS > 3u) { f.v3 = key_at(place, t + 3u * WORKGROUP_SIZE); }
  if (LOADS > 4u) { f.v4 = key_at(place, t + 4u * WORKGROUP_SIZE); }
  if (LOADS > 5u) { f.v5 = key_at(place, t + 5u * WORKGROUP_SIZE); }
  if (LOADS > 6u) { f.v6 = key_at(place, t + 6u * WORKGROUP_SIZE); }
  if (LOADS > 7u) { f.v7 = key_at(place, t + 7u * WORKGROUP_SIZE); }
  if (LOADS > 8u) { f.v8 = key_at(place, t + 8u * WORKGROUP_SIZE); }
  if (LOADS > 9u) { f.v9 = key_at(place, t + 9u * WORKGROUP_SIZE); }
  if (LOADS > 10u) { f.v10 = key_at(place, t + 10u * WORKGROUP_SIZE); }
  if (LOADS > 11u) { f.v11 = key_at(place, t + 11u * WORKGROUP_SIZE); }
  if (LOADS > 12u) { f.v12 = key_at(place, t + 12u * WORKGROUP_SIZE); }
  if (LOADS > 13u) { f.v13 = key_at(place, t + 13u * WORKGROUP_SIZE); }
  if (LOADS > 14u) { f.v14 = key_at(place, t + 14u * WORKGROUP_SIZE); }
  if (LOADS > 15u) { f.v15 = key_at(place, t + 15u * WORKGROUP_SIZE); }
  return f;
}

fn fetch_values(place: u32, t: u32) -> Fetched {
  var f: Fetched;
  f.v0 = value_at(place, t);
  if (LOADS > 1u) { f.v1 = value_at(place, t + 1u * WORKGROUP_SIZE); }
  if (LOADS > 2u) { f.v2 = value_at(place, t + 2u * WORKGROUP_SIZE); }
  if (LOADS > 3u) { f.v3 = value_at(place, t + 3u * WORKGROUP_SIZE); }
  if (LOADS > 4u) { f.v4 = value_at(place, t + 4u * WORKGROUP_SIZE); }
  if (LOADS > 5u) { f.v5 = value_at(place, t + 5u * WORKGROUP_SIZE); }
  if (LOADS > 6u) { f.v6 = value_at(place, t + 6u * WORKGROUP_SIZE); }
  if (LOADS > 7u) { f.v7 = value_at(place, t + 7u * WORKGROUP_SIZE); }
  if (LOADS > 8u) { f.v8 = value_at(place, t + 8u * WORKGROUP_SIZE); }
  if (LOADS > 9u) { f.v9 = value_at(place, t + 9u * WORKGROUP_SIZE); }
  if (LOADS > 10u) { f.v10 = value_at(place, t + 10u * WORKGROUP_SIZE); }
  if (LOADS > 11u) { f.v11 = value_at(place, t + 11u * WORKGROUP_SIZE); }
  if (LOADS > 12u) { f.v12 = value_at(place, t + 12u * WORKGROUP_SIZE); }
  if (LOADS > 13u) { f.v13 = value_at(place, t + 13u * WORKGROUP_SIZE); }
  if (LOADS > 14u) { f.v14 = value_at(place, t + 14u * WORKGROUP_SIZE); }
  if (LOADS > 15u) { f.v15 = value_at(place, t + 15u * WORKGROUP_SIZE); }
  return f;
}

fn stage(f: Fetched, first_key: u32, t: u32) {
  stage_at(f.v0, first_key, t);
  if (LOADS > 1u) { stage_at(f.v1, first_key, t + 1u * WORKGROUP_SIZE); }
  if (LOADS > 2u) { stage_at(f.v2, first_key, t + 2u * WORKGROUP_SIZE); }
  if (LOADS > 3u) { stage_at(f.v3, first_key, t + 3u * WORKGROUP_SIZE); }
  if (LOADS > 4u) { stage_at(f.v4, first_key, t + 4u * WORKGROUP_SIZE); }
  if (LOADS > 5u) { stage_at(f.v5, first_key, t + 5u * WORKGROUP_SIZE); }
  if (LOADS > 6u) { stage_at(f.v6, first_key, t + 6u * WORKGROUP_SIZE); }
  if (LOADS > 7u) { stage_at(f.v7, first_key, t + 7u * WORKGROUP_SIZE); }
  if (LOADS > 8u) { stage_at(f.v8, first_key, t + 8u * WORKGROUP_SIZE); }
  if (LOADS > 9u) { stage_at(f.v9, first_key, t + 9u * WORKGROUP_SIZE); }
  if (LOADS > 10u) { stage_at(f.v10, first_key, t + 10u * WORKGROUP_SIZE); }
  if (LOADS > 11u) { stage_at(f.v11, first_key, t + 11u * WORKGROUP_SIZE); }
  if (LOADS > 12u) { stage_at(f.v12, first_key, t + 12u * WORKGROUP_SIZE); }
  if (LOADS > 13u) { stage_at(f.v13, first_key, t + 13u * WORKGROUP_SIZE); }
  if (LOADS > 14u) { stage_at(f.v14, first_key, t + 14u * WORKGROUP_SIZE); }
  if (LOADS > 15u) { stage_at(f.v15, first_key, t + 15u * WORKGROUP_SIZE); }
}
