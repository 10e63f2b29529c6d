// What the attention kernels read of a mask: for every row the tree keys that it may attend to, ascending, and their biases.
//   mask      [maskBatches, INFO_HEADS, q_len, q_len] (query, key): bytes, not 0 = attend, if MASK_TYPE is 0; added to the score if it
//             is 1 (f32) or 2 (f16), where −∞ = do not attend. maskBatches is 1 or numBatches
//   lengths   u32 [numBatches]   cached keys, capped at max_len
//   pages     u32 [numBatches, max_pages], capped at num_pages − 1
//   row_info, tables   as in attention_rows: page tables first, then lists of q_len words, or 2 · q_len with biases
// One thread a (batch, head, query). Reference: reference/flash-decoding-attention.ts
@group(0) @binding(0) var<storage, read> mask: array<u32>;
@group(0) @binding(1) var<storage, read> lengths: array<u32>;
@group(0) @binding(2) var<storage, read> pages: array<u32>;
@group(0) @binding(3) var<storage, read_write> row_info: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> tables: array<u32>;
struct Params { num_batches: u32, q_len: u32, mask_batches: u32, max_pages: u32, num_pages: u32, max_len: u32 }
var<immediate> params: Params;

struct MaskElement { attends: bool, bias: u32 }

fn mask_at(element: u32) -> MaskElement {
  if (MASK_TYPE == 0) { return MaskElement(((mask[element / 4u] >> (8u * (element % 4u))) & 0xffu) != 0u, 0u); }
  // Infinities are told by their bits: a compiler may take them for absent.
  if (MASK_TYPE == 1) { return MaskElement(mask[element] != 0xff800000u, mask[element]); }
  let word = mask[element / 2u];
  let half = (word >> (16u * (element % 2u))) & 0xffffu;
  return MaskElement(half != 0xfc00u, bitcast<u32>(unpack2x16float(half).x));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let thread = thread_index(id);
  let query = thread % params.q_len;
  let head = thread / params.q_len % INFO_HEADS;
  let batch = thread / (params.q_len * INFO_HEADS);
  if (batch >= params.num_batches) { return; }
  let table = batch * params.max_pages;
  if (head == 0u && query == 0u) {
    for (var i = 0u; i < params.max_pages; i++) { tables[table + i] = min(pages[table + i], params.num_pages - 1u); }
  }
  let list = ((batch % params.mask_batches) * INFO_HEADS + head) * params.q_len + query;
  let list_size = select(2u, 1u, MASK_TYPE == 0) * params.q_len;
  let list_at = params.num_batches * params.max_pages + list * list_size;
  var count = 0u;
  for (var key = 0u; key < params.q_len; key++) {
    if (mask_at(list * params.q_len + key).attends) {
      if (batch < params.mask_batches) { tables[list_at + count] = key; }
      count++;
    }
  }
  if (MASK_TYPE != 0 && batch < params.mask_batches) {
    var bias = list_at + count;
    for (var key = 0u; key < params.q_len; key++) {
      let element = mask_at(list * params.q_len + key);
      if (element.attends) {
        tables[bias] = element.bias;
        bias++;
      }
    }
  }
  let length = min(lengths[batch], params.max_len);
  row_info[(batch * params.q_len + query) * INFO_HEADS + head] = vec4u(table, length + count - 1u, length, list_at);
}
