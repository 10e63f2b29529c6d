import { kvTypeOf } from "../family.ts";
import type { Binding, KernelSpec } from "../kernel.ts";
import { inTurn, type Op, type OpContext, type PassSize, threadsOp } from "../op.ts";
import type { HeadShape, KvShard } from "./attention-types.ts";
import { type Product, productReader } from "./product.ts";
import { LARGEST_STORED } from "./storage.ts";

const WORKGROUP_SIZE = 32;

export interface RopeKvArgs {
  /** [numRows, numHeads + 2 · numKvHeads, headDim] */
  readonly qkv: Product;
  readonly rope: Binding;
  readonly rowInfo: Binding;
  readonly slots: Binding;
  /** Where keys and values of all heads go. */
  readonly shards: readonly KvShard[];
  /** f32 [numRows, numHeads, headDim] */
  readonly q: GPUBuffer;
}

/** Rotates a product's Q into `q`, and writes rotated K and V of each row to its slot (wgsl/rope_kv.wgsl). */
export async function ropeKv(context: OpContext, heads: HeadShape, args: RopeKvArgs): Promise<Op> {
  const { qkv, rope, rowInfo, slots, shards, q } = args;
  const { headDim } = heads;
  const [numHeads, numKvHeads] = [heads.numHeads / shards.length, heads.numKvHeads / shards.length];
  const reader = productReader(qkv);
  const type = kvTypeOf(context.family);
  // A shard's place is compiled in: what changes from kernel to kernel of a step has to be set again for each.
  const spec = (shard: number): KernelSpec => ({
    shader: [...reader.shader, "rope_rows", type === "q8" ? "rope_kv_q8" : "rope_kv"],
    constants: {
      ...reader.constants,
      ...(type === "q8" ? {} : { kv_t: type, LARGEST: LARGEST_STORED[type] }),
      NUM_SHARDS: shards.length,
      SHARD: shard,
      NUM_HEADS: numHeads,
      NUM_KV_HEADS: numKvHeads,
      HEAD_DIM: headDim,
      WORKGROUP_SIZE,
    },
    enables: type === "f16" ? ["f16"] : [],
    numImmediates: 1,
  });
  const threads = ({ numRows }: PassSize) => numRows * (numHeads + 2 * numKvHeads) * (headDim / 8);
  return inTurn(
    shards.map(({ kCache, vCache }, shard) => {
      const bindings = [qkv.buffer, rope, rowInfo, slots, kCache, vCache, q];
      return threadsOp(context, spec(shard), bindings, WORKGROUP_SIZE, threads);
    }),
  );
}

/**
 * Cosines and sines of `maxPositions` positions f32 [maxPositions, 2, headDim / 2], computed in f64.
 * @param inverseFrequencies f64 [headDim / 2], radians per position
 */
export function ropeTable(inverseFrequencies: Float64Array, maxPositions: number): Float32Array<ArrayBuffer> {
  const half = inverseFrequencies.length;
  const table = new Float32Array(maxPositions * 2 * half);
  for (let position = 0; position < maxPositions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * (inverseFrequencies[i] ?? 0);
      table[position * 2 * half + i] = Math.cos(angle);
      table[position * 2 * half + half + i] = Math.sin(angle);
    }
  }
  return table;
}
