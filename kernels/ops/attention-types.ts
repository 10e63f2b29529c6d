import type { KvType } from "../family.ts";
import type { Binding } from "../kernel.ts";
import type { PassSize } from "../op.ts";

/** Heads of one attention layer; query head h reads KV head ⌊h · numKvHeads / numHeads⌋. */
export interface HeadShape {
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** A multiple of 8. */
  readonly headDim: number;
}

/**
 * Keys and values of some heads of a layer, in a layout of their own as if there were no others. Shard s of S has KV heads
 * s · numKvHeads / S …, and the query heads that read them.
 */
export interface KvShard {
  readonly kCache: Binding;
  readonly vCache: Binding;
}

/** What a caller's tensors are like: part of the compiled kernels. */
export interface AttentionTensors extends HeadShape {
  readonly ioType: "f32" | "f16";
  /** Where the result is the input of a product, the rows that its buffer has room for; else it lies as `q` does. */
  readonly activationRows?: number;
  /** q8 only where all keys lie in the cache. */
  readonly kvType: KvType;
  /** 1, or numHeads where heads have keys of their own. */
  readonly infoHeads: number;
  /** Lists are followed by what is added to their keys' scores. */
  readonly hasBias: boolean;
  /** Tree keys lie in buffers of their own; cache pages are [numKvHeads, pageSize] then, else [pageSize, numKvHeads]. */
  readonly treeBuffers: boolean;
}

/** The same with the heads of one shard. */
export interface ShardTensors extends AttentionTensors {
  /** Heads of a row in all shards. */
  readonly rowHeads: number;
}

/** What may differ from call to call; no kernel is compiled for it. */
export interface AttentionLayout {
  /** Rows whose queries lie together under each head. */
  readonly rowsPerBatch: number;
  /** Positions of a page. */
  readonly pageSize: number;
  /** Positions of a split. */
  readonly splitSize: number;
  /** Factor of q · k. */
  readonly scale: number;
}

/** Shapes: wgsl/attention_rows.wgsl, attention_keys_*.wgsl, attention_result.wgsl. */
export interface AttentionBuffers {
  readonly q: Binding;
  /** All heads' keys and values; one shard with `treeBuffers`. */
  readonly shards: readonly KvShard[];
  readonly rowInfo: Binding;
  readonly tables: Binding;
  readonly out: Binding;
  /** Scratch for one row or more (`numAttentionPartials`): rows that it has no room for wait for those before them. */
  readonly partial: Binding;
  readonly stats: Binding;
  /** Only with `treeBuffers`. */
  readonly tree?: { readonly k: Binding; readonly v: Binding };
}

/** The matrix kernel for tiles of so many rows × heads of a KV group. */
export interface MatrixTile {
  readonly kind: "matrix";
  /** By default it depends on the pass; the bits of a row do not. */
  readonly tileRows?: 16 | 32;
}

export type AttentionKernel = { readonly kind: "portable" } | { readonly kind: "subgroup" } | MatrixTile;

/** Rows firstRow … firstRow + numRows − 1 of a pass: what one dispatch does. */
export interface RowTile extends PassSize {
  readonly firstRow: number;
}
