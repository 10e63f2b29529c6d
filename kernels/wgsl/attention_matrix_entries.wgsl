// Which keys a workgroup of attention_matrix multiplies for which of its rows. An entry is a range of positions, a set of rows and
// their leader, the row whose keys they are: the keys of a row of the set are the first ones of its leader's.
//   simple tiles: one entry, led by the row with most keys, for all rows: either no path leaves the order of the table, or all
//   rows are on the leader's
//   others: rows of one table, one after another, are a run. A run that has paths has an entry for the tiles of 16 positions below
//   its tree; each leader has one from there on. The leader of a row is the row of its run with most keys that it can have
// Trees in buffers of their own (the operator) are no part of this: every entry is multiplied with its batch's tree as well.
const SUBGROUP = 32u;
/** Positions that are done at once. */
const SEGMENT = 128u;
const GROUP = NUM_HEADS / NUM_KV_HEADS;
/** 16-byte vectors of a key, from key to key in storage, and in workgroup memory, where they must not meet in one bank. */
const KEY_VECTORS = HEAD_DIM / 8u;
const KEY_STRIDE = select(NUM_KV_HEADS * KEY_VECTORS, KEY_VECTORS, HEAD_MAJOR == 1);
const STAGE_STRIDE = KEY_VECTORS + 1u;
/** Tiles that workgroup memory has room for at once, and vectors of them that a thread fetches, at most 4. */
const STAGED_TILES = select(select(select(8u, 4u, HEAD_DIM > 64), 2u, HEAD_DIM > 128), 1u, HEAD_DIM > 192) / (ROWS / 16u);
const STAGED_KEYS = 16u * STAGED_TILES;
const LOADS = (STAGED_KEYS * KEY_VECTORS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;

struct Tile { first_item: u32, num_rows: u32, kv_head: u32, split: u32 }

struct Entry {
  mask: u32,   // rows of the tile
  leader: u32, // row of the tile
  first: u32,  // positions first … end − 1
  end: u32,
  linear: u32, // below this position keys are where the table says
}

/** What all threads know of the tile. */
struct Plan {
  simple: u32,
  entry: Entry,  // of a simple tile
  last: u32,     // position after the last one that a row has in this split, 0 for none
  tree_end: u32, // tree keys (in buffers of their own) that rows name whose tree belongs to this split
}

/** SEGMENT positions from `start` on, or as many keys of a tree in buffers of its own. */
struct Segment { start: u32, in_tree: bool }

/** What an entry has of a segment. */
struct Span {
  first: u32,
  end: u32,
  k_direct: u32, // keys of tiles below this lie in storage as matrices want them
}

var<workgroup> infos: array<vec4u, ROWS>;
var<workgroup> shared_plan: Plan;
var<workgroup> entries: array<Entry, 2u * ROWS>;
var<workgroup> num_found: u32;
/** Of each row: (keys of its leader) · 64 + 63 − leader; of each leader: its rows. */
var<workgroup> leaders: array<atomic<u32>, ROWS>;
var<workgroup> followers: array<atomic<u32>, ROWS>;

fn head_of(tile: Tile, item: u32) -> u32 { return row_head(tile.kv_head * GROUP + item % GROUP); }

/** The lane's row; beyond the last one there are rows without keys. */
fn own_info(tile: Tile, lane: u32) -> vec4u {
  let item = tile.first_item + min(lane, tile.num_rows - 1u);
  return select(vec4u(0u, 0xffffffffu, 0u, 0u), info_of(item / GROUP, head_of(tile, item)), lane < tile.num_rows);
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

fn last_tree_key(info: vec4u) -> u32 {
  let length = path_len(info);
  return tables[select(0u, info.w + length - 1u, length > 0u)];
}

fn plan_tile(tile: Tile, info: vec4u, t: u32) -> Plan {
  let lane = t % SUBGROUP;
  let exists = lane < tile.num_rows;
  var last_key = 0u;
  if (subgroupBallot(path_len(info) > 0u).x != 0u) { last_key = last_tree_key(info); }
  // A path of tree keys 0, 1, 2, … is where the table says.
  let leaves = TREE_BUFFERS == 0 && path_len(info) > 0u && last_key + 1u != path_len(info);
  let any_leaves = subgroupBallot(exists && leaves).x != 0u;
  let longest = subgroupMax(select(0u, split_keys(info) * 64u + 63u - lane, exists));
  let row = 63u - longest % 64u;
  let leader = vec4u(
    subgroupShuffle(info.x, row), subgroupShuffle(info.y, row), subgroupShuffle(info.z, row), subgroupShuffle(info.w, row),
  );
  var strays = info.x != leader.x;
  if (any_leaves) { strays = strays || !follows(info, leader); }
  let strange = subgroupBallot(exists && strays).x;
  let last = subgroupMax(own_end(info, tile.split));
  let tree_end = subgroupMax(select(0u, last_key + 1u, has_tree(info, tile.split)));
  if (t < ROWS) {
    infos[t] = info;
    atomicStore(&leaders[t], 0u);
    atomicStore(&followers[t], 0u);
  }
  if (t == 0u) {
    let linear = select(last, leader.z, any_leaves);
    let entry = Entry(0xffffffffu, row, tile.split * params.split_size, last, linear);
    shared_plan = Plan(select(0u, 1u, strange == 0u), entry, last, tree_end);
  }
  return workgroupUniformLoad(&shared_plan);
}

fn has_bit(mask: u32, row: u32) -> bool { return (mask & (1u << row)) != 0u; }

/** Bits of the rows below `row`, at most 31, and of those up to `row`. */
fn below(row: u32) -> u32 { return (1u << row) - 1u; }
fn up_to(row: u32) -> u32 { return (below(row) << 1u) | 1u; }

/** Fills `entries` for a tile that is not simple, and gives their number. */
fn find_entries(tile: Tile, info: vec4u, t: u32) -> u32 {
  let lane = t % SUBGROUP;
  let exists = lane < tile.num_rows;
  let table_before = subgroupShuffle(info.x, max(lane, 1u) - 1u);
  let firsts = subgroupBallot(exists && (lane == 0u || info.x != table_before)).x;
  for (var pair = t; pair < ROWS * ROWS; pair += WORKGROUP_SIZE) {
    let row = pair / ROWS;
    let leader = pair % ROWS;
    let apart = firsts & up_to(max(row, leader)) & ~up_to(min(row, leader));
    if (max(row, leader) < tile.num_rows && apart == 0u && follows(infos[row], infos[leader])) {
      atomicMax(&leaders[row], split_keys(infos[leader]) * 64u + 63u - leader);
    }
  }
  workgroupBarrier();
  if (t < tile.num_rows) { atomicOr(&followers[63u - atomicLoad(&leaders[t]) % 64u], 1u << t); }
  workgroupBarrier();

  let own_and_later = firsts & ~below(lane);
  let later = own_and_later & ~(1u << lane);
  let end = select(tile.num_rows, countTrailingZeros(later), later != 0u);
  let begin = 31u - min(31u, countLeadingZeros(firsts & up_to(lane)));
  let run = select(0xffffffffu, below(end), end < 32u) & ~below(begin);
  let paths = subgroupBallot(TREE_BUFFERS == 0 && path_len(info) > 0u).x & run;
  let tree_base = subgroupShuffle(info.z, select(0u, countTrailingZeros(paths), paths != 0u));
  let split_start = tile.split * params.split_size;
  let shared_end = select(0u, min(tree_base / 16u * 16u, split_start + params.split_size), paths != 0u);
  let first = max(split_start, shared_end);
  let led = atomicLoad(&followers[min(lane, ROWS - 1u)]);
  let has_run = exists && begin == lane && shared_end > split_start;
  let leads = exists && led != 0u && (TREE_BUFFERS == 1 || own_end(info, tile.split) > first);
  let runs = subgroupBallot(has_run).x;
  let leading = subgroupBallot(leads).x;
  if (t < SUBGROUP && has_run) {
    entries[countOneBits(runs & below(lane))] = Entry(run, lane, split_start, shared_end, shared_end);
  }
  if (t < SUBGROUP && leads) {
    let at = countOneBits(runs) + countOneBits(leading & below(lane));
    entries[at] = Entry(led, lane, first, own_end(info, tile.split), info.z);
  }
  if (t == 0u) { num_found = countOneBits(runs) + countOneBits(leading); }
  return workgroupUniformLoad(&num_found);
}

/** Whether the cached keys of `info` are the first ones of the leader's. In a tree equal nodes have equal ancestors. */
fn follows(info: vec4u, leader: vec4u) -> bool {
  let length = path_len(info);
  let by_table = TREE_BUFFERS == 1 || length == 0u;
  let in_reach = !by_table && path_len(leader) >= length && info.z == leader.z;
  let own = tables[select(0u, info.w + length - 1u, in_reach)];
  let others = tables[select(0u, leader.w + length - 1u, in_reach)];
  return select(in_reach && own == others, split_keys(info) <= min(leader.z, split_keys(leader)), by_table);
}

/** Entry number `e`. With several of them it is a barrier. */
fn entry_at(plan: Plan, e: u32) -> Entry {
  var entry = plan.entry;
  if (plan.simple == 0u) { entry = workgroupUniformLoad(&entries[e]); }
  return entry;
}

/** What the entry has of the segment; `end` is not after `first` where that is nothing. */
fn span_of(plan: Plan, entry: Entry, segment: Segment) -> Span {
  if (segment.in_tree) {
    let end = min(plan.tree_end, segment.start + SEGMENT);
    return Span(segment.start, end, min((end + 15u) / 16u, params.rows_per_batch / 16u) * 16u);
  }
  let end = min(entry.end, segment.start + SEGMENT);
  // Keys of a tile are neighbours in pages that are whole tiles, and in the first page of others.
  let in_pages = select(params.page_size, 0xffffffffu, params.page_size % 16u == 0u);
  // What follows the last key gives scores that no row of a simple tile has; elsewhere it would meet rows of other entries.
  let whole = min(end, entry.linear) / 16u;
  let tiles = select(whole, (end + 15u) / 16u, plan.simple == 1u && end <= entry.linear);
  return Span(max(entry.first, segment.start), end, min(tiles, in_pages / 16u) * 16u);
}

/** Where the key at `at` of an entry lies. */
fn place_of(tile: Tile, entry: Entry, in_tree: bool, at: u32) -> u32 {
  let row = (tile.first_item + entry.leader) / GROUP;
  let info = infos[entry.leader];
  if (in_tree) { return tree_quad(row, info.x, 0u, at, tile.kv_head); }
  if (at < entry.linear) { return cache_quad(info.x, at, tile.kv_head); }
  return key_quad(row, info, at, tile.kv_head);
}
