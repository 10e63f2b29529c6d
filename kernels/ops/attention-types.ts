import type { KvType } from "../family.ts";
import type { Binding } from "../kernel.ts";

/** Heads of one attention layer; query head h reads KV head ⌊h · numKvHeads / numHeads⌋. */
export interface HeadShape {
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** A multiple of 8. */
  readonly headDim: number;
}

/** What a caller's tensors are like: part of the compiled kernels. */
export interface AttentionTensors extends HeadShape {
  /** Heads of a row of `q` in memory: numHeads, or more where K and V of the row follow. */
  readonly qHeads: number;
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
  readonly kCache: Binding;
  readonly vCache: Binding;
  readonly rowInfo: Binding;
  readonly tables: Binding;
  readonly out: Binding;
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
